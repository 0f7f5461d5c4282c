#include "graphc.cuh"

// made (model.py:12)
// by hand
extern "C" __global__ void __launch_bounds__(128) transposed(const float* x, float* y) {
  __shared__ __align__(16) float cells[1056];
  const int lane = threadIdx.x;
  const int tile = blockIdx.x;
  const int row = int(tile / 2u) * 32;
  const int column = int(tile % 2u) * 32;
  #pragma unroll
  for (int u = 0; u < 8; u++) {
    const int n = u * 128 + lane;
    const int a = row + int(n / 32u);
    const int b = column + int(n % 32u);
    cells[int(n / 32u) * 33 + int(n % 32u)] = a < 50 && b < 40 ? x[a * 40 + b] : 0.0f;
  }
  __syncthreads();
  #pragma unroll
  for (int u = 0; u < 8; u++) {
    const int n = u * 128 + lane;
    const int a = column + int(n / 32u);
    const int b = row + int(n % 32u);
    if (a < 40 && b < 50) y[a * 50 + b] = cells[int(n % 32u) * 33 + int(n / 32u)];
  }
}
