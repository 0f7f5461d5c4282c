#include "graphc.cuh"

// made (model.py:12)
// by hand
extern "C" __global__ void __launch_bounds__(128) row_warp_tail(const float* x, float* y, float* total) {
  const int lane = threadIdx.x % 32;
  const int team = threadIdx.x / 32;
  const int i = blockIdx.x * 4 + team;
  if (i >= 5) return;
  float m = -infinity;
  float row[12];
  #pragma unroll
  for (int u = 0; u < 3; u++) {
    const int j = (u * 32 + lane) * 4;
    if (u < 2 || j < 300) {
      const auto x_v = load<4>(x + i * 300 + j);
      #pragma unroll
      for (int v = 0; v < 4; v++) {
        const float e = x_v[v];
        row[u * 4 + v] = e;
        m = maximum(m, e);
      }
    }
  }
  m = reduce_team<Maximum, 32>(m);
  float s = 0.0f;
  #pragma unroll
  for (int u = 0; u < 3; u++) {
    const int j = (u * 32 + lane) * 4;
    if (u < 2 || j < 300) {
      #pragma unroll
      for (int v = 0; v < 4; v++) {
        const float p = expf(row[u * 4 + v] - m);
        row[u * 4 + v] = p;
        s += p;
      }
    }
  }
  s = reduce_team<Add, 32>(s);
  #pragma unroll
  for (int u = 0; u < 3; u++) {
    const int j = (u * 32 + lane) * 4;
    if (u < 2 || j < 300) {
      Pack<float, 4> y_v;
      #pragma unroll
      for (int v = 0; v < 4; v++) {
        y_v[v] = row[u * 4 + v] / s;
      }
      store(y + i * 300 + j, y_v);
    }
  }
  if (lane == 0) total[i] = s;
}
