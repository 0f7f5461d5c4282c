// What the text of graphc's kernels is made of beside plain CUDA C: element types, vector accesses, arithmetic with defined results,
// reductions over teams of threads, random bits.
//
// Compiles for sm_75 and later under NVRTC and nvcc from CUDA 12.0 on, and as plain C++ on a host (GRAPHC_HOST), where every line of PTX has
// a twin. Results are those that docs/design.md defines, "Elementwise vocabulary".
#pragma once

#define GRAPHC_DEVICE __device__ __forceinline__

// Types -------------------------------------------------------------------------------------------------------------------------------------

using i8 = signed char;
using i16 = short;
using i64 = long long;
using u8 = unsigned char;
using u16 = unsigned short;
using u32 = unsigned int;
using u64 = unsigned long long;

// No constants: compilers before CUDA 12.3 have nothing that makes them so.
#define infinity __uint_as_float(0x7f800000u)
#define not_a_number __uint_as_float(0x7fffffffu)

template <int BYTES> struct UnsignedOf;
template <> struct UnsignedOf<1> { using type = u8; };
template <> struct UnsignedOf<2> { using type = u16; };
template <> struct UnsignedOf<4> { using type = u32; };
template <> struct UnsignedOf<8> { using type = u64; };
template <class T> using Unsigned = typename UnsignedOf<sizeof(T)>::type;

template <class T> constexpr bool is_signed = T(-1) < T(0);
template <class T> constexpr int bits_of = 8 * int(sizeof(T));
template <class T> constexpr T lowest = is_signed<T> ? T(Unsigned<T>(1) << (bits_of<T> - 1)) : T(0);
template <class T> constexpr T highest = T(~Unsigned<T>(lowest<T>));
template <class T> constexpr bool is_float = T(0.5) != T(0) && T(0.5) != T(1);  // T(0.5) of a bool is true

// A 16-bit float is computed as a float: f16(x) rounds to nearest even, float(h) is exact.
struct f16 {
  u16 bits;
  f16() = default;
  GRAPHC_DEVICE explicit f16(float x) {
#ifdef GRAPHC_HOST
    const _Float16 half = _Float16(x);
    __builtin_memcpy(&bits, &half, 2);
#else
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
#endif
  }
  GRAPHC_DEVICE operator float() const {
#ifdef GRAPHC_HOST
    _Float16 half;
    __builtin_memcpy(&half, &bits, 2);
    return float(half);
#else
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
#endif
  }
};

struct bf16 {
  u16 bits;
  bf16() = default;
  GRAPHC_DEVICE explicit bf16(float x) {
#if !defined(GRAPHC_HOST) && __CUDA_ARCH__ >= 800
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
#else
    const u32 word = __float_as_uint(x);  // its upper half, after adding what carries into it from a half up (ties to even)
    bits = x != x ? u16(0x7fff) : u16((word + 0x7fff + (word >> 16 & 1)) >> 16);
#endif
  }
  GRAPHC_DEVICE operator float() const { return __uint_as_float(u32(bits) << 16); }
};

// Memory ------------------------------------------------------------------------------------------------------------------------------------

// COUNT neighbouring elements, moved 16 bytes at a time. They lie at a multiple of their own size, or of 16 bytes.
template <class T, int COUNT> struct alignas(COUNT * sizeof(T) < 16 ? COUNT * sizeof(T) : 16) Pack {
  T at[COUNT];
  GRAPHC_DEVICE T& operator[](int i) { return at[i]; }
  GRAPHC_DEVICE const T& operator[](int i) const { return at[i]; }
};

template <int COUNT, class T> GRAPHC_DEVICE Pack<T, COUNT> load(const T* from) { return *reinterpret_cast<const Pack<T, COUNT>*>(from); }
template <int COUNT, class T> GRAPHC_DEVICE void store(T* to, const Pack<T, COUNT>& pack) { *reinterpret_cast<Pack<T, COUNT>*>(to) = pack; }

// Integers: everything wraps around, and nothing is undefined --------------------------------------------------------------------------------

// Signed integers are added as unsigned ones; all else as C does.
template <class T> GRAPHC_DEVICE T add(T x, T y) {
  if constexpr (is_float<T>) return x + y;
  else return T(Unsigned<T>(x) + Unsigned<T>(y));
}
template <class T> GRAPHC_DEVICE T subtract(T x, T y) { return T(Unsigned<T>(x) - Unsigned<T>(y)); }
template <class T> GRAPHC_DEVICE T multiply(T x, T y) {
  if constexpr (is_float<T>) return x * y;
  else if constexpr (sizeof(T) < 8) return T(u32(x) * u32(y));  // C would multiply two u16 as int, and overflow
  else return T(u64(x) * u64(y));
}
template <class T> GRAPHC_DEVICE T negate(T x) { return T(Unsigned<T>(0) - Unsigned<T>(x)); }
template <class T> GRAPHC_DEVICE T absolute(T x) { return is_signed<T> && x < T(0) ? negate(x) : x; }

// Truncates toward zero. x / 0 has all bits set; the lowest integer divided by -1 is itself.
template <class T> GRAPHC_DEVICE T divide(T x, T y) {
  if (y == T(0)) return T(~T(0));
  if (is_signed<T> && y == T(-1)) return negate(x);
  return T(x / y);
}
// With the sign of x. x rem 0 is x.
template <class T> GRAPHC_DEVICE T remainder(T x, T y) {
  if (y == T(0)) return x;
  if (is_signed<T> && y == T(-1)) return T(0);
  return T(x % y);
}
// By squaring. A negative exponent gives 0, but 1 for base 1 and +-1 for base -1.
template <class T> GRAPHC_DEVICE T power(T base, T exponent) {
  if (is_signed<T> && exponent < T(0)) return base == T(1) ? T(1) : base == T(-1) ? (exponent & 1 ? T(-1) : T(1)) : T(0);
  T result = T(1);
  for (Unsigned<T> left = exponent; left != 0; left >>= 1) {
    if (left & 1) result = multiply(result, base);
    base = multiply(base, base);
  }
  return result;
}
// By the width or more: 0, or the sign. A negative amount is a large unsigned one.
template <class T> GRAPHC_DEVICE T shift_left(T x, T by) {
  return Unsigned<T>(by) < bits_of<T> ? T(Unsigned<T>(x) << Unsigned<T>(by)) : T(0);
}
template <class T> GRAPHC_DEVICE T shift_right_logical(T x, T by) {
  return Unsigned<T>(by) < bits_of<T> ? T(Unsigned<T>(x) >> Unsigned<T>(by)) : T(0);
}
template <class T> GRAPHC_DEVICE T shift_right_arithmetic(T x, T by) {
  if (!is_signed<T>) return shift_right_logical(x, by);
  return T(x >> (Unsigned<T>(by) < bits_of<T> ? Unsigned<T>(by) : Unsigned<T>(bits_of<T> - 1)));
}

// Floats ------------------------------------------------------------------------------------------------------------------------------------

// NaN where either is NaN.
template <class T> GRAPHC_DEVICE T maximum(T x, T y) { return x > y || x != x ? x : y; }
template <class T> GRAPHC_DEVICE T minimum(T x, T y) { return x < y || x != x ? x : y; }
#if !defined(GRAPHC_HOST) && __CUDA_ARCH__ >= 800
template <> GRAPHC_DEVICE float maximum(float x, float y) {
  float result;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(x), "f"(y));
  return result;
}
template <> GRAPHC_DEVICE float minimum(float x, float y) {
  float result;
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(x), "f"(y));
  return result;
}
#endif
template <class T> GRAPHC_DEVICE T clamp(T low, T x, T high) { return minimum(maximum(x, low), high); }

// -1, 0 or 1; NaN for NaN.
template <class T> GRAPHC_DEVICE T sign(T x) { return x > T(0) ? T(1) : x < T(0) ? T(-1) : T(x + T(0)); }

GRAPHC_DEVICE bool is_finite(float x) { return fabsf(x) < infinity; }
GRAPHC_DEVICE bool is_finite(double x) { return fabs(x) < infinity; }

GRAPHC_DEVICE float logistic(float x) { return 1 / (1 + expf(-x)); }
GRAPHC_DEVICE double logistic(double x) { return 1 / (1 + exp(-x)); }

// 1 + erf(x), which goes to zero with x instead of ending in steps: erfc(|x|) = 2**(|x| p(|x|)), p minimax in the absolute error of erfc.
GRAPHC_DEVICE float erf_plus_one(float x) {
  const float a = fabsf(x);
  float p = -4.5358370698522776e-05f;
  p = fmaf(p, a, 0.0004455057787708938f);
  p = fmaf(p, a, -0.0014894355554133654f);
  p = fmaf(p, a, -0.000774639833252877f);
  p = fmaf(p, a, 0.028253689408302307f);
  p = fmaf(p, a, -0.14848162233829498f);
  p = fmaf(p, a, -0.9184163808822632f);
  p = fmaf(p, a, -1.6279085874557495f);
  const float tail = exp2f(p * a);
  return x < 0 ? tail : 2 - tail;
}
GRAPHC_DEVICE double erf_plus_one(double x) { return erfc(-x); }

// Toward zero. Saturates; NaN gives 0.
template <class I, class F> GRAPHC_DEVICE I to_integer(F x) {
  constexpr F low = F(lowest<I>), beyond = 2 * F(I(1) << (bits_of<I> - 1 - is_signed<I>));
  return x != x ? I(0) : x <= low ? lowest<I> : x >= beyond ? highest<I> : I(x);
}

// Reductions over a team of threads: every thread gives a value and gets the total, in an order that depends on the team's size alone --------

struct Add { template <class T> GRAPHC_DEVICE T operator()(T x, T y) const { return add(x, y); } };
struct Multiply { template <class T> GRAPHC_DEVICE T operator()(T x, T y) const { return multiply(x, y); } };
struct Maximum { template <class T> GRAPHC_DEVICE T operator()(T x, T y) const { return maximum(x, y); } };
struct Minimum { template <class T> GRAPHC_DEVICE T operator()(T x, T y) const { return minimum(x, y); } };
struct And { template <class T> GRAPHC_DEVICE T operator()(T x, T y) const { return T(x & y); } };
struct Or { template <class T> GRAPHC_DEVICE T operator()(T x, T y) const { return T(x | y); } };

// The threads of this thread's team in its warp: LANES neighbours, a power of two up to 32.
template <int LANES> GRAPHC_DEVICE u32 team_mask() {
  if constexpr (LANES == 32) return 0xffffffffu;
  else return ((1u << LANES) - 1) << (threadIdx.x % 32 / LANES * LANES);
}

// Waits for the other threads of a team inside a warp.
template <int LANES> GRAPHC_DEVICE void sync_team() { __syncwarp(team_mask<LANES>()); }

template <class Combine, int LANES, class T> GRAPHC_DEVICE T reduce_team(T value) {
#pragma unroll
  for (int distance = LANES / 2; distance > 0; distance /= 2) {
    value = Combine()(value, T(__shfl_xor_sync(team_mask<LANES>(), value, distance)));
  }
  return value;
}

// A team of several warps, in two steps with a barrier between: the warps' totals to shared memory, and the total of those.
template <class Combine, class T> GRAPHC_DEVICE void store_warp_total(T* totals, T value) {
  value = reduce_team<Combine, 32>(value);
  if (threadIdx.x % 32 == 0) totals[threadIdx.x / 32] = value;
}
template <class Combine, int WARPS, class T> GRAPHC_DEVICE T combine_warp_totals(const T* totals) {
  return reduce_team<Combine, WARPS>(totals[threadIdx.x % WARPS]);
}

// The total of ROWS values in shared memory, `stride` elements apart, first to last.
template <class Combine, int ROWS, class T> GRAPHC_DEVICE T combine_rows(const T* first, int stride) {
  T total = first[0];
#pragma unroll
  for (int row = 1; row < ROWS; row++) total = Combine()(total, first[row * stride]);
  return total;
}

// Random bits -------------------------------------------------------------------------------------------------------------------------------

GRAPHC_DEVICE u64 wide_product(u32 x, u32 y) {
#ifdef GRAPHC_HOST
  return u64(x) * y;
#else
  u64 product;  // one instruction, which compilers do not always find
  asm("mul.wide.u32 %0, %1, %2;" : "=l"(product) : "r"(x), "r"(y));
  return product;
#endif
}

// One block of Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): four words.
// counter: the number of the run; key: two words, the first one low.
GRAPHC_DEVICE Pack<u32, 4> random_block(i64 counter, i64 key, i64 block) {
  u32 c0 = u32(block), c1 = u32(u64(block) >> 32), c2 = u32(counter), c3 = u32(u64(counter) >> 32);
  u32 k0 = u32(key), k1 = u32(u64(key) >> 32);
#pragma unroll
  for (int round = 0; round < 10; round++) {
    const u64 p0 = wide_product(c0, 0xd2511f53u), p1 = wide_product(c2, 0xcd9e8d57u);
    c0 = u32(p1 >> 32) ^ c1 ^ k0;
    c1 = u32(p1);
    c2 = u32(p0 >> 32) ^ c3 ^ k1;
    c3 = u32(p0);
    k0 += 0x9e3779b9u;
    k1 += 0xbb67ae85u;
  }
  return {{c0, c1, c2, c3}};
}

// The word at one position: word `position & 3` of block `position >> 2`.
GRAPHC_DEVICE u32 random_word(i64 counter, i64 key, i64 position) {
  const auto words = random_block(counter, key, position >> 2);
  const int word = int(position & 3);
  return word < 2 ? (word == 0 ? words[0] : words[1]) : (word == 2 ? words[2] : words[3]);
}

// COUNT words from one position on; both are multiples of 4.
template <int COUNT> GRAPHC_DEVICE Pack<u32, COUNT> random_words(i64 counter, i64 key, i64 position) {
  Pack<u32, COUNT> words;
#pragma unroll
  for (int block = 0; block < COUNT / 4; block++) {
    const auto four = random_block(counter, key, (position >> 2) + block);
#pragma unroll
    for (int word = 0; word < 4; word++) words[4 * block + word] = four[word];
  }
  return words;
}
