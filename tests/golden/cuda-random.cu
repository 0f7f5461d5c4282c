#include "graphc.cuh"

static __device__ void random_0(int block, const u64* counter, u32* y, u32* w) {
  const i64 number = i64(counter[0]);
  const int n = (block * 32 + threadIdx.x) * 4;
  if (n >= 64) return;
  const auto bits_v = random_words<4>(number, -8589934593ll, n);
  Pack<u32, 4> y_v;
  Pack<u32, 4> w_v;
  #pragma unroll
  for (int v = 0; v < 4; v++) {
    y_v[v] = bits_v[v];
    w_v[v] = random_word(number, 3, n + v + 2);
  }
  store(y + n, y_v);
  store(w + n, w_v);
}

static __device__ void random_1(int block, const u64* counter, u32* z) {
  const i64 number = i64(counter[0]);
  const int n = block * 32 + threadIdx.x;
  if (n >= 30) return;
  z[n] = random_word(number, 81985529216486895ll, n + 4294967297ll);
}

// made (model.py:12)
// by hand
extern "C" __global__ void __launch_bounds__(32) random(const u64* counter, u32* y, u32* z, u32* w) {
  if (blockIdx.x < 1) return random_0(blockIdx.x, counter, y, w);
  if (blockIdx.x < 2) return random_1(blockIdx.x - 1, counter, z);
}
