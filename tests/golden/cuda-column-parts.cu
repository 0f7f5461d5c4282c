#include "graphc.cuh"

// made (model.py:12)
// by hand
extern "C" __global__ void __launch_bounds__(256) column_parts(const float* x, float* y, float* z) {
  __shared__ float s_rows[1024];
  __shared__ float m_rows[1024];
  const int lane = threadIdx.x / 32;
  const int team = threadIdx.x % 32;
  const int i = (blockIdx.x * 32 + team) * 4;
  float s[4];
  float m[4];
  #pragma unroll
  for (int v = 0; v < 4; v++) {
    s[v] = 0.0f;
    m[v] = -infinity;
  }
  #pragma unroll
  for (int u = 0; u < 7; u++) {
    const int r = u * 8 + lane;
    if (u < 6 || r < 50) {
      const auto x_v = load<4>(x + r * 256 + i);
      #pragma unroll
      for (int v = 0; v < 4; v++) {
        const float e = x_v[v];
        s[v] += e;
        m[v] = maximum(m[v], e);
      }
    }
  }
  #pragma unroll
  for (int v = 0; v < 4; v++) {
    s_rows[(lane * 4 + v) * 32 + team] = s[v];
  }
  #pragma unroll
  for (int v = 0; v < 4; v++) {
    m_rows[(lane * 4 + v) * 32 + team] = m[v];
  }
  __syncthreads();
  #pragma unroll
  for (int v = 0; v < 4; v++) {
    s[v] = combine_rows<Add, 8>(s_rows + v * 32 + team, 128);
  }
  #pragma unroll
  for (int v = 0; v < 4; v++) {
    m[v] = combine_rows<Maximum, 8>(m_rows + v * 32 + team, 128);
  }
  Pack<float, 4> y_v;
  Pack<float, 4> z_v;
  #pragma unroll
  for (int v = 0; v < 4; v++) {
    y_v[v] = s[v] + m[v];
    z_v[v] = m[v];
  }
  if (lane == 0) {
    store(y + i, y_v);
    store(z + i, z_v);
  }
}
