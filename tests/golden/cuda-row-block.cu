#include "graphc.cuh"

// made (model.py:12)
// by hand
extern "C" __global__ void __launch_bounds__(128) row_block(const float* x, float* y, float* total) {
  __shared__ float m_warps[4];
  __shared__ float s_warps[4];
  const int lane = threadIdx.x;
  const int i = blockIdx.x;
  float m = -infinity;
  float row[8];
  #pragma unroll
  for (int u = 0; u < 2; u++) {
    const int j = (u * 128 + lane) * 4;
    if (u < 1 || j < 1000) {
      const auto x_v = load<4>(x + i * 1000 + j);
      #pragma unroll
      for (int v = 0; v < 4; v++) {
        const float e = x_v[v];
        row[u * 4 + v] = e;
        m = maximum(m, e);
      }
    }
  }
  store_warp_total<Maximum>(m_warps, m);
  __syncthreads();
  m = combine_warp_totals<Maximum, 4>(m_warps);
  float s = 0.0f;
  #pragma unroll
  for (int u = 0; u < 2; u++) {
    const int j = (u * 128 + lane) * 4;
    if (u < 1 || j < 1000) {
      #pragma unroll
      for (int v = 0; v < 4; v++) {
        const float p = expf(row[u * 4 + v] - m);
        row[u * 4 + v] = p;
        s += p;
      }
    }
  }
  store_warp_total<Add>(s_warps, s);
  __syncthreads();
  s = combine_warp_totals<Add, 4>(s_warps);
  #pragma unroll
  for (int u = 0; u < 2; u++) {
    const int j = (u * 128 + lane) * 4;
    if (u < 1 || j < 1000) {
      Pack<float, 4> y_v;
      #pragma unroll
      for (int v = 0; v < 4; v++) {
        y_v[v] = row[u * 4 + v] / s;
      }
      store(y + i * 1000 + j, y_v);
    }
  }
  if (lane == 0) total[i] = s;
}
