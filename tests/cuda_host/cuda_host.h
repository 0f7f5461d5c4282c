// CUDA C for a machine without a GPU: the words of the language, so that g++ compiles the text of a kernel unchanged.
//
//     g++ -std=c++20 -include cuda_host.h -x c++ kernel.cu
//
// A block runs at a time, every thread of it a fiber, on one thread of the host (cuda_host.cpp). This header has only what stands in the
// text of kernels: built-in variables and types, barriers and shuffles, atomics, and the mathematics that C++ lacks. It defines
// GRAPHC_HOST, by which device headers choose a C++ twin of their PTX. There is no atomicAdd on floats: its order would decide the result.
#pragma once
#define GRAPHC_HOST 1
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <bit>
#include <source_location>
#include <type_traits>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __grid_constant__
// Shared variables of one kernel stand in a section of their own, which is filled with 0xff (NaN, -1) before each block.
#define __shared__ static __attribute__((section(CUDA_HOST_SECTION)))
#define CUDA_HOST_SECTION "shared_of_no_kernel"

// Built-in types and variables ------------------------------------------------------------------------------------------------------------

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};
#define CUDA_HOST_VECTORS(T, name)                                                         \
  struct alignas(2 * sizeof(T)) name##2 { T x, y; };                                       \
  struct name##3 { T x, y, z; };                                                           \
  struct alignas(4 * sizeof(T) < 16 ? 4 * sizeof(T) : 16) name##4 { T x, y, z, w; };       \
  inline name##2 make_##name##2(T x, T y) { return {x, y}; }                               \
  inline name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; }                       \
  inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
CUDA_HOST_VECTORS(signed char, char)
CUDA_HOST_VECTORS(unsigned char, uchar)
CUDA_HOST_VECTORS(short, short)
CUDA_HOST_VECTORS(unsigned short, ushort)
CUDA_HOST_VECTORS(int, int)
CUDA_HOST_VECTORS(unsigned, uint)
CUDA_HOST_VECTORS(long long, longlong)
CUDA_HOST_VECTORS(unsigned long long, ulonglong)
CUDA_HOST_VECTORS(float, float)
CUDA_HOST_VECTORS(double, double)

#define CUDA_HOST_HIDDEN __attribute__((visibility("hidden")))
extern CUDA_HOST_HIDDEN uint3 threadIdx, blockIdx;
extern CUDA_HOST_HIDDEN dim3 blockDim, gridDim;
constexpr int warpSize = 32;

// Barriers, shuffles and votes ------------------------------------------------------------------------------------------------------------

namespace cuda_host {
using Site = std::source_location;  // where in the text a thread waits

// What a waiting thread offers and asks of the others of its warp. The scheduler answers when all of `mask` wait at the same site.
enum class Ask : int { block, warp, value, ballot };
struct Exchange {
  Ask ask;
  unsigned mask;
  uint64_t offered = 0;
  int source = 0;  // value: the lane whose offer is asked for
  uint64_t answer = 0;
};
CUDA_HOST_HIDDEN void wait(Exchange& exchange, Site site);
[[noreturn]] CUDA_HOST_HIDDEN void fail(const char* what, Site site);
CUDA_HOST_HIDDEN int lane();

template <class T>
auto shuffle(unsigned mask, T value, int lane_of_source, int width, Site site) {
  using Shuffled = decltype(+value);  // small integers are promoted to int, as by the overloads of CUDA
  static_assert(sizeof(Shuffled) == 4 || sizeof(Shuffled) == 8, "CUDA shuffles 4 or 8 bytes");
  const Shuffled promoted = value;
  const int first = lane() & ~(width - 1);
  const bool outside = lane_of_source < first || lane_of_source >= first + width;
  Exchange exchange{Ask::value, mask, 0, outside ? lane() : lane_of_source};
  memcpy(&exchange.offered, &promoted, sizeof promoted);
  wait(exchange, site);
  Shuffled result;
  memcpy(&result, &exchange.answer, sizeof result);
  return result;
}
inline unsigned ballot(unsigned mask, bool vote, Site site) {
  Exchange exchange{Ask::ballot, mask, vote};
  wait(exchange, site);
  return unsigned(exchange.answer);
}
}  // namespace cuda_host

#define CUDA_HOST_SITE cuda_host::Site site = cuda_host::Site::current()
inline void __syncthreads(CUDA_HOST_SITE) {
  cuda_host::Exchange exchange{cuda_host::Ask::block, 0};
  cuda_host::wait(exchange, site);
}
inline void __syncwarp(unsigned mask = ~0u, CUDA_HOST_SITE) {
  cuda_host::Exchange exchange{cuda_host::Ask::warp, mask};
  cuda_host::wait(exchange, site);
}
template <class T>
auto __shfl_sync(unsigned mask, T value, int lane, int width = 32, CUDA_HOST_SITE) {
  return cuda_host::shuffle(mask, value, (cuda_host::lane() & ~(width - 1)) + (lane & (width - 1)), width, site);
}
template <class T>
auto __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, CUDA_HOST_SITE) {
  return cuda_host::shuffle(mask, value, cuda_host::lane() - int(delta), width, site);
}
template <class T>
auto __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, CUDA_HOST_SITE) {
  return cuda_host::shuffle(mask, value, cuda_host::lane() + int(delta), width, site);
}
template <class T>
auto __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, CUDA_HOST_SITE) {
  return cuda_host::shuffle(mask, value, cuda_host::lane() ^ lanes, width, site);
}
inline unsigned __ballot_sync(unsigned mask, int vote, CUDA_HOST_SITE) { return cuda_host::ballot(mask, vote, site); }
inline int __any_sync(unsigned mask, int vote, CUDA_HOST_SITE) { return cuda_host::ballot(mask, vote, site) != 0; }
inline int __all_sync(unsigned mask, int vote, CUDA_HOST_SITE) { return cuda_host::ballot(mask, !vote, site) == 0; }
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}
[[noreturn]] inline void __trap(CUDA_HOST_SITE) { cuda_host::fail("__trap", site); }

// Atomics on integers ---------------------------------------------------------------------------------------------------------------------

namespace cuda_host {
template <class T>
concept Word = std::is_integral_v<T> && sizeof(T) >= 4;
template <Word T, class F>
T exchange(T* at, F next) {
  const T before = *at;
  *at = next(before);
  return before;
}
}  // namespace cuda_host
template <cuda_host::Word T>
T atomicAdd(T* at, std::type_identity_t<T> v) {
  return cuda_host::exchange(at, [=](T old) { return T(std::make_unsigned_t<T>(old) + std::make_unsigned_t<T>(v)); });
}
template <cuda_host::Word T>
T atomicMax(T* at, std::type_identity_t<T> v) { return cuda_host::exchange(at, [=](T old) { return old < v ? v : old; }); }
template <cuda_host::Word T>
T atomicMin(T* at, std::type_identity_t<T> v) { return cuda_host::exchange(at, [=](T old) { return v < old ? v : old; }); }
template <cuda_host::Word T>
T atomicAnd(T* at, std::type_identity_t<T> v) { return cuda_host::exchange(at, [=](T old) { return T(old & v); }); }
template <cuda_host::Word T>
T atomicOr(T* at, std::type_identity_t<T> v) { return cuda_host::exchange(at, [=](T old) { return T(old | v); }); }
template <cuda_host::Word T>
T atomicXor(T* at, std::type_identity_t<T> v) { return cuda_host::exchange(at, [=](T old) { return T(old ^ v); }); }
template <cuda_host::Word T>
T atomicExch(T* at, std::type_identity_t<T> v) { return cuda_host::exchange(at, [=](T) { return v; }); }
template <cuda_host::Word T>
T atomicCAS(T* at, std::type_identity_t<T> old, std::type_identity_t<T> v) {
  return cuda_host::exchange(at, [=](T found) { return found == old ? v : found; });
}

// Functions that C++ lacks ----------------------------------------------------------------------------------------------------------------

template <class T>
T __ldg(const T* at) { return *at; }
template <class T>
T __ldcg(const T* at) { return *at; }
template <class T>
T __ldcs(const T* at) { return *at; }
template <class T>
void __stcs(T* at, std::type_identity_t<T> value) { *at = value; }
template <class T>
void __stcg(T* at, std::type_identity_t<T> value) { *at = value; }

// min and max of floats give the number where one of the two is NaN; those of integers have the common type.
template <class A, class B>
std::common_type_t<A, B> max(A a, B b) {
  using T = std::common_type_t<A, B>;
  if constexpr (std::is_floating_point_v<T>) return std::isnan(T(a)) || T(a) < T(b) ? (std::isnan(T(b)) ? T(a) : T(b)) : T(a);
  else return T(a) < T(b) ? T(b) : T(a);
}
template <class A, class B>
std::common_type_t<A, B> min(A a, B b) {
  using T = std::common_type_t<A, B>;
  if constexpr (std::is_floating_point_v<T>) return std::isnan(T(a)) || T(b) < T(a) ? (std::isnan(T(b)) ? T(a) : T(b)) : T(a);
  else return T(b) < T(a) ? T(b) : T(a);
}

#define rsqrtf cuda_host_rsqrtf  // newer C libraries have functions of these names
#define rsqrt cuda_host_rsqrt
inline float rsqrtf(float x) { return float(1 / sqrt(double(x))); }
inline double rsqrt(double x) { return 1 / sqrt(x); }
inline float rcbrtf(float x) { return float(1 / cbrt(double(x))); }
inline double rcbrt(double x) { return 1 / cbrt(x); }
inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1) : 0; }
inline float __expf(float x) { return expf(x); }
inline float __exp10f(float x) { return powf(10, x); }
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __fdividef(float x, float y) { return x / y; }
inline float fdividef(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1 / x; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __frsqrt_rn(float x) { return rsqrtf(x); }
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fsub_rn(float x, float y) { return x - y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fdiv_rn(float x, float y) { return x / y; }
inline float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
inline double __dadd_rn(double x, double y) { return x + y; }
inline double __dsub_rn(double x, double y) { return x - y; }
inline double __dmul_rn(double x, double y) { return x * y; }
inline double __ddiv_rn(double x, double y) { return x / y; }
inline double __drcp_rn(double x) { return 1 / x; }
inline double __dsqrt_rn(double x) { return sqrt(x); }
inline double __fma_rn(double x, double y, double z) { return fma(x, y, z); }

inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline double __longlong_as_double(long long x) { return std::bit_cast<double>(x); }
inline long long __double_as_longlong(double x) { return std::bit_cast<long long>(x); }
inline double __hiloint2double(int high, int low) { return std::bit_cast<double>(uint64_t(unsigned(high)) << 32 | unsigned(low)); }
inline int __double2hiint(double x) { return int(std::bit_cast<uint64_t>(x) >> 32); }
inline int __double2loint(double x) { return int(std::bit_cast<uint64_t>(x)); }

// Float to integer saturates. NaN gives 0, but for a double to 64 bits or 32: the hardware's smallest value.
namespace cuda_host {
template <class I, class F>
I saturated(F x, I of_nan) {
  if (std::isnan(x)) return of_nan;
  const F low = F(I(std::is_signed_v<I> ? I(1) << (8 * sizeof(I) - 1) : 0)), beyond = F(ldexp(1.0, 8 * sizeof(I) - std::is_signed_v<I>));
  if (x <= low) return std::is_signed_v<I> ? I(I(1) << (8 * sizeof(I) - 1)) : 0;
  if (x >= beyond) return std::is_signed_v<I> ? I(~(I(1) << (8 * sizeof(I) - 1))) : I(~I(0));
  return I(x);
}
}  // namespace cuda_host
inline int __float2int_rz(float x) { return cuda_host::saturated<int>(x, 0); }
inline int __float2int_rn(float x) { return cuda_host::saturated<int>(nearbyintf(x), 0); }
inline int __float2int_rd(float x) { return cuda_host::saturated<int>(floorf(x), 0); }
inline int __float2int_ru(float x) { return cuda_host::saturated<int>(ceilf(x), 0); }
inline unsigned __float2uint_rz(float x) { return cuda_host::saturated<unsigned>(x, 0); }
inline unsigned __float2uint_rn(float x) { return cuda_host::saturated<unsigned>(nearbyintf(x), 0); }
inline long long __float2ll_rz(float x) { return cuda_host::saturated<long long>(x, 1ll << 63); }
inline long long __float2ll_rn(float x) { return cuda_host::saturated<long long>(nearbyintf(x), 1ll << 63); }
inline unsigned long long __float2ull_rz(float x) { return cuda_host::saturated<unsigned long long>(x, 1ull << 63); }
inline int __double2int_rz(double x) { return cuda_host::saturated<int>(x, 1 << 31); }
inline int __double2int_rn(double x) { return cuda_host::saturated<int>(nearbyint(x), 1 << 31); }
inline unsigned __double2uint_rz(double x) { return cuda_host::saturated<unsigned>(x, 1u << 31); }
inline long long __double2ll_rz(double x) { return cuda_host::saturated<long long>(x, 1ll << 63); }
inline long long __double2ll_rn(double x) { return cuda_host::saturated<long long>(nearbyint(x), 1ll << 63); }
inline unsigned long long __double2ull_rz(double x) { return cuda_host::saturated<unsigned long long>(x, 1ull << 63); }
inline float __int2float_rn(int x) { return float(x); }
inline float __uint2float_rn(unsigned x) { return float(x); }
inline float __ll2float_rn(long long x) { return float(x); }
inline float __ull2float_rn(unsigned long long x) { return float(x); }
inline float __double2float_rn(double x) { return float(x); }

inline int __mulhi(int x, int y) { return int(int64_t(x) * y >> 32); }
inline unsigned __umulhi(unsigned x, unsigned y) { return unsigned(uint64_t(x) * y >> 32); }
inline long long __mul64hi(long long x, long long y) { return (long long)((__int128)x * y >> 64); }
inline unsigned long long __umul64hi(unsigned long long x, unsigned long long y) { return uint64_t((unsigned __int128)x * y >> 64); }
inline int __clz(int x) { return std::countl_zero(unsigned(x)); }
inline int __clzll(long long x) { return std::countl_zero((unsigned long long)x); }
inline int __ffs(int x) { return x ? std::countr_zero(unsigned(x)) + 1 : 0; }
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned n) {
  return unsigned(((uint64_t(high) << 32 | low) << (n & 31)) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned n) { return unsigned((uint64_t(high) << 32 | low) >> (n & 31)); }

// The entries of a kernel: C linkage, the same for all ------------------------------------------------------------------------------------

namespace cuda_host {
struct Launch {
  unsigned grid[3], block[3];
  int order;           // of blocks and threads: 0 forward, 1 reversed, 2 shuffled
  const char* packed;  // the parameters one after the other, each at a multiple of its alignment
  char* error;         // of error_size bytes, empty where all went well
  size_t error_size;
  // Of an access to memory that is not there: the address, and the instruction's offset in the library.
  uintptr_t fault_address, fault_code;
};
struct Kernel {
  const char* name;
  void (*run)(void** parameters);
  char *shared, *shared_end;  // the section of its __shared__ variables
};
CUDA_HOST_HIDDEN int launch(const Kernel& kernel, const void* const* parameters, Launch& launch);

template <class... P, size_t... I>
void call(void (*kernel)(P...), void** parameters, std::index_sequence<I...>) {
  kernel(*static_cast<std::remove_reference_t<P>*>(parameters[I])...);
}
template <auto kernel, class... P>
void run(void (*)(P...), void** parameters) { call(kernel, parameters, std::index_sequence_for<P...>{}); }
// Where each parameter stands in a packed buffer, and the buffer's size.
template <class... P>
size_t unpack(void (*)(P...), const char* packed, const void** parameters) {
  size_t offset = 0;
  ((offset = (offset + alignof(P) - 1) / alignof(P) * alignof(P), *parameters++ = packed + offset, offset += sizeof(P)), ...);
  return offset;
}
template <class... P, size_t... I>
void pack(void (*)(P...), const void* const* parameters, void* const* places, std::index_sequence<I...>) {
  (memcpy(places[I], parameters[I], sizeof(P)), ...);
}
template <class... P>
size_t pack(void (*kernel)(P...), const void* const* parameters, char* packed) {
  const void* places[sizeof...(P) + 1];
  const size_t size = unpack(kernel, packed, places);
  if (parameters) pack(kernel, parameters, const_cast<void**>(places), std::index_sequence_for<P...>{});
  return size;
}
template <class... P>
constexpr int count(void (*)(P...)) { return sizeof...(P); }
}  // namespace cuda_host

// Gives the function `kernel` two entries: `symbol` launches it, `symbol_pack` copies its parameters, given one by one as to
// cuLaunchKernel, into one buffer, and gives the buffer's size (all that it does without parameters). `section` is what CUDA_HOST_SECTION
// was in its text.
#define CUDA_HOST_ENTRY(symbol, text_name, kernel, section)                                                             \
  extern "C" CUDA_HOST_HIDDEN char __start_##section[] __attribute__((weak)), __stop_##section[] __attribute__((weak)); \
  extern "C" __attribute__((visibility("default"))) int symbol(cuda_host::Launch* launch) {                            \
    const void* parameters[cuda_host::count(kernel) + 1];                                                               \
    cuda_host::unpack(kernel, launch->packed, parameters);                                                              \
    const cuda_host::Kernel found{text_name, [](void** p) { cuda_host::run<kernel>(kernel, p); }, __start_##section, __stop_##section}; \
    return cuda_host::launch(found, parameters, *launch);                                                               \
  }                                                                                                                     \
  extern "C" __attribute__((visibility("default"))) size_t symbol##_pack(const void* const* parameters, char* packed) { \
    return cuda_host::pack(kernel, parameters, packed);                                                                 \
  }
