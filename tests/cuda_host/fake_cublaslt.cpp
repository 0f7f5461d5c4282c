// A libcublasLt.so.13 without a GPU: plain loops over the fake driver's memory, on its streams, so that captures record products too.
// The functions, numbers and meanings are those of NVIDIA's public documentation of cublasLt; what the project does not ask for is refused
// with NOT_SUPPORTED. Matrices lie column by column unless their layout says rows.
#include <math.h>
#include <stdint.h>
#include <string.h>

#include <bit>
#include <map>
#include <utility>
#include <vector>

#include "fake_driver.h"

#define API extern "C" __attribute__((visibility("default"))) int
extern "C" int fake_cuda_enqueue(void* stream, const std::function<int()>& work);
extern "C" int cuCtxGetCurrent(void** context);
extern "C" int cuMemGetAddressRange_v2(uint64_t* base, size_t* size, uint64_t at);

namespace {
enum { SUCCESS = 0, NOT_INITIALIZED = 1, INVALID_VALUE = 7, EXECUTION_FAILED = 13, NOT_SUPPORTED = 15 };
enum { ILLEGAL_ADDRESS = 700 };
// cudaDataType_t, cublasComputeType_t
enum { F32 = 0, F64 = 1, F16 = 2, BF16 = 14 };
enum { COMPUTE_32F = 68, COMPUTE_64F = 70, FAST_16F = 74, FAST_16BF = 75, FAST_TF32 = 77 };
// Attributes of a product, and of a layout, whose rows, columns and type come when it is made
enum {
  POINTER_MODE = 2, TRANSA = 3, TRANSB = 4, EPILOGUE = 7, BIAS_POINTER = 8, BIAS_BATCH_STRIDE = 10,
  AUX_POINTER = 11, AUX_LD = 12, AUX_BATCH_STRIDE = 13
};
enum { ORDER = 1, BATCH_COUNT = 5, STRIDE = 6 };
// Attributes of a preference.
enum { WORKSPACE_BYTES = 1, REDUCTIONS = 3, ALIGNMENT_A = 5, ALIGNMENT_B, ALIGNMENT_C, ALIGNMENT_D };
// Bits of an epilogue
enum {
  EPILOGUE_RELU = 2, EPILOGUE_BIAS = 4, EPILOGUE_DRELU = 8, EPILOGUE_BGRAD = 16, EPILOGUE_GELU = 32, EPILOGUE_DGELU = 64,
  EPILOGUE_AUX = 128, EPILOGUE_BGRADA = 256, EPILOGUE_BGRADB = 512
};
constexpr size_t WORKSPACE = 4096;  // bytes that the first algorithm asks for, and scribbles over

using Attributes = std::map<int, int64_t>;
struct Product {
  int compute, scale;
  Attributes set;
};
struct Layout {
  int type;
  int64_t rows, columns, leading;
  Attributes set;
};
struct Preference {
  Attributes set;
};
struct Result {  // cublasLtMatmulHeuristicResult_t
  uint64_t algorithm[8];
  size_t workspace_bytes;
  int state;
  float waves;
  int reserved[4];
};

int64_t get(const Attributes& set, int attribute, int64_t otherwise = 0) {
  const auto found = set.find(attribute);
  return found == set.end() ? otherwise : found->second;
}

// Bytes of each attribute: the library takes no other size.
using Sizes = std::map<int, size_t>;
const Sizes OF_PRODUCT{{POINTER_MODE, 4}, {TRANSA, 4}, {TRANSB, 4}, {EPILOGUE, 4}, {BIAS_POINTER, 8}, {BIAS_BATCH_STRIDE, 8},
                       {AUX_POINTER, 8}, {AUX_LD, 8}, {AUX_BATCH_STRIDE, 8}};
const Sizes OF_LAYOUT{{ORDER, 4}, {BATCH_COUNT, 4}, {STRIDE, 8}};
const Sizes OF_PREFERENCE{{WORKSPACE_BYTES, 8}, {REDUCTIONS, 4}, {ALIGNMENT_A, 4}, {ALIGNMENT_B, 4}, {ALIGNMENT_C, 4}, {ALIGNMENT_D, 4}};

int put(Attributes& set, const Sizes& sizes, int attribute, const void* value, size_t size) {
  int64_t wide = 0;
  const auto known = sizes.find(attribute);
  if (known == sizes.end() || known->second != size) return INVALID_VALUE;
  memcpy(&wide, value, size);
  if (size == 4) wide = int32_t(wide);
  set[attribute] = wide;
  return SUCCESS;
}

// Elements --------------------------------------------------------------------------------------------------------------------------------

size_t size_of(int type) { return type == F64 ? 8 : type == F32 ? 4 : 2; }
float from_bf16(uint16_t bits) { return std::bit_cast<float>(uint32_t(bits) << 16); }
uint16_t to_bf16(float x) {
  const auto word = std::bit_cast<uint32_t>(x);
  return x != x ? 0x7fff : uint16_t((word + 0x7fff + (word >> 16 & 1)) >> 16);
}
float to_tf32(float x) {  // 10 bits of mantissa, to nearest even
  const auto word = std::bit_cast<uint32_t>(x);
  return isfinite(x) ? std::bit_cast<float>((word + 0xfff + (word >> 13 & 1)) & ~0x1fffu) : x;
}
double read(int type, const void* base, int64_t at) {
  switch (type) {
    case F64: return static_cast<const double*>(base)[at];
    case F32: return static_cast<const float*>(base)[at];
    case F16: return float(static_cast<const _Float16*>(base)[at]);
    default: return from_bf16(static_cast<const uint16_t*>(base)[at]);
  }
}
void write(int type, void* base, int64_t at, double x) {
  switch (type) {
    case F64: static_cast<double*>(base)[at] = x; break;
    case F32: static_cast<float*>(base)[at] = float(x); break;
    case F16: static_cast<_Float16*>(base)[at] = _Float16(float(x)); break;
    default: static_cast<uint16_t*>(base)[at] = to_bf16(float(x));
  }
}
double operand(int compute, double x) {
  switch (compute) {
    case FAST_16F: return float(_Float16(float(x)));
    case FAST_16BF: return from_bf16(to_bf16(float(x)));
    case FAST_TF32: return to_tf32(float(x));
    default: return x;
  }
}

// A matrix of each batch as the product takes it: transposed where it says so.
struct View {
  int type;
  void* base;
  int64_t rows, columns, batches, row_step, column_step, batch_step;

  View(const Layout& layout, void* base, bool transposed = false)
      : type(layout.type), base(base), rows(layout.rows), columns(layout.columns), batches(get(layout.set, BATCH_COUNT, 1)),
        row_step(1), column_step(layout.leading), batch_step(get(layout.set, STRIDE)) {
    if (get(layout.set, ORDER) == 1) std::swap(row_step, column_step);
    if (transposed) std::swap(rows, columns), std::swap(row_step, column_step);
  }
  int64_t place(int64_t row, int64_t column, int64_t batch) const { return batch * batch_step + row * row_step + column * column_step; }
  double at(int64_t row, int64_t column, int64_t batch) const { return read(type, base, place(row, column, batch)); }
  bool lies_on_device() const {
    const uint64_t end = uint64_t(base) + (place(rows - 1, columns - 1, batches - 1) + 1) * size_of(type);
    uint64_t start;
    size_t size;
    return !cuMemGetAddressRange_v2(&start, &size, uint64_t(base)) && end <= start + size;
  }
};

// Epilogues -------------------------------------------------------------------------------------------------------------------------------

double gelu(double x) { return 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x))); }
double gelu_slope(double x) {
  const double t = tanh(0.7978845608028654 * (x + 0.044715 * x * x * x));
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * 0.7978845608028654 * (1 + 3 * 0.044715 * x * x);
}

struct Work {
  Product product;
  Layout layout_a, layout_b, layout_c, layout_d;
  double alpha, beta;
  void *a, *b, *c, *d, *workspace;
  size_t workspace_bytes;

  // What comes after the sum at (row, column): `aux` holds gelu's argument, or a bit of the sign of relu's.
  double finish(double x, int64_t row, int64_t column, int64_t batch) const {
    const int64_t epilogue = get(product.set, EPILOGUE, 1);
    const int type = layout_d.type;
    auto* aux = reinterpret_cast<uint8_t*>(get(product.set, AUX_POINTER));
    const int64_t place = batch * get(product.set, AUX_BATCH_STRIDE) + column * get(product.set, AUX_LD) + row;
    const auto* bias = reinterpret_cast<void*>(get(product.set, BIAS_POINTER));
    if (epilogue & EPILOGUE_BIAS) x += read(type, bias, row + batch * get(product.set, BIAS_BATCH_STRIDE));
    if (epilogue & EPILOGUE_GELU) {
      if (epilogue & EPILOGUE_AUX) write(type, aux, place, x);
      return gelu(x);
    }
    if (epilogue & EPILOGUE_RELU) {
      if (epilogue & EPILOGUE_AUX) aux[place / 8] = uint8_t((aux[place / 8] & ~(1 << place % 8)) | (x > 0) << place % 8);
      return x > 0 ? x : 0;  // of NaN too
    }
    if (epilogue & EPILOGUE_DGELU) return x * gelu_slope(read(type, aux, place));
    if (epilogue & EPILOGUE_DRELU) return aux[place / 8] >> place % 8 & 1 ? x : 0;
    return x;
  }

  int run() const {
    const View A(layout_a, a, get(product.set, TRANSA) != 0), B(layout_b, b, get(product.set, TRANSB) != 0), C(layout_c, c), D(layout_d, d);
    for (const View* each : {&A, &B, &D})
      if (!each->lies_on_device()) return ILLEGAL_ADDRESS;
    if (beta != 0 && !C.lies_on_device()) return ILLEGAL_ADDRESS;
    if (workspace_bytes) memset(workspace, 0xff, workspace_bytes);
    const bool wide = product.compute == COMPUTE_64F;
    const int64_t epilogue = get(product.set, EPILOGUE, 1), rows = D.rows, columns = D.columns, depth = A.columns;
    auto* bias = reinterpret_cast<void*>(get(product.set, BIAS_POINTER));
    for (int64_t batch = 0; batch < D.batches; batch++) {
      std::vector<double> by_row(rows);
      for (int64_t column = 0; column < columns; column++)
        for (int64_t row = 0; row < rows; row++) {
          double sum = 0;
          for (int64_t k = 0; k < depth; k++)
            sum += operand(product.compute, A.at(row, k, batch)) * operand(product.compute, B.at(k, column, batch));
          if (!wide) sum = float(sum);
          double x = alpha * sum + (beta != 0 ? beta * C.at(row, column, batch) : 0);
          x = finish(wide ? x : float(x), row, column, batch);
          by_row[row] += x;
          write(layout_d.type, d, D.place(row, column, batch), x);
        }
      const int64_t start = batch * get(product.set, BIAS_BATCH_STRIDE);
      if (epilogue & EPILOGUE_BGRAD)
        for (int64_t row = 0; row < rows; row++) write(layout_d.type, bias, start + row, by_row[row]);
      if (epilogue & (EPILOGUE_BGRADA | EPILOGUE_BGRADB)) {
        const bool of_a = epilogue & EPILOGUE_BGRADA;
        for (int64_t n = 0; n < (of_a ? rows : columns); n++) {
          double sum = 0;
          for (int64_t k = 0; k < depth; k++) sum += of_a ? A.at(n, k, batch) : B.at(k, n, batch);
          write(layout_d.type, bias, start + n, sum);
        }
      }
    }
    return 0;
  }
};

bool fits(const Product& product, const Layout& a, const Layout& b, const Layout& c, const Layout& d) {
  const View A(a, nullptr, get(product.set, TRANSA) != 0), B(b, nullptr, get(product.set, TRANSB) != 0);
  for (const Layout* each : {&a, &b, &c, &d})
    if (each->leading < (get(each->set, ORDER) == 1 ? each->columns : each->rows)) return false;
  const bool shapes = A.rows == d.rows && B.columns == d.columns && A.columns == B.rows && c.rows == d.rows && c.columns == d.columns;
  return shapes && a.type == b.type && (a.type == F64) == (product.compute == COMPUTE_64F) && d.rows > 0 && d.columns > 0 && A.columns > 0;
}

template <class T>
int make(void** out, T made) {
  *out = new T(std::move(made));
  return SUCCESS;
}
template <class T>
int destroy(void* made) {
  delete static_cast<T*>(made);
  return SUCCESS;
}
}  // namespace

extern "C" __attribute__((visibility("default"))) size_t cublasLtGetVersion() { return 130000; }
API cublasLtCreate(void** handle) {
  void* context = nullptr;
  if (cuCtxGetCurrent(&context) || !context) return NOT_INITIALIZED;
  return make(handle, 0);
}
API cublasLtDestroy(void* handle) { return destroy<int>(handle); }
API cublasLtMatmulDescCreate(void** made, int compute, int scale) { return make(made, Product{compute, scale, {}}); }
API cublasLtMatmulDescDestroy(void* made) { return destroy<Product>(made); }
API cublasLtMatmulDescSetAttribute(void* made, int attribute, const void* value, size_t size) {
  return put(static_cast<Product*>(made)->set, OF_PRODUCT, attribute, value, size);
}
API cublasLtMatrixLayoutCreate(void** made, int type, uint64_t rows, uint64_t columns, int64_t leading) {
  return make(made, Layout{type, int64_t(rows), int64_t(columns), leading, {}});
}
API cublasLtMatrixLayoutDestroy(void* made) { return destroy<Layout>(made); }
API cublasLtMatrixLayoutSetAttribute(void* made, int attribute, const void* value, size_t size) {
  return put(static_cast<Layout*>(made)->set, OF_LAYOUT, attribute, value, size);
}
API cublasLtMatmulPreferenceCreate(void** made) { return make(made, Preference{}); }
API cublasLtMatmulPreferenceDestroy(void* made) { return destroy<Preference>(made); }
API cublasLtMatmulPreferenceSetAttribute(void* made, int attribute, const void* value, size_t size) {
  return put(static_cast<Preference*>(made)->set, OF_PREFERENCE, attribute, value, size);
}
// Two algorithms that compute the same: the first wants a workspace.
API cublasLtMatmulAlgoGetHeuristic(void*, const Product* product, const Layout* a, const Layout* b, const Layout* c, const Layout* d, void*,
                                   int asked, Result* results, int* count) {
  *count = 0;
  if (!fits(*product, *a, *b, *c, *d)) return INVALID_VALUE;
  for (uint64_t n = 0; n < 2 && *count < asked; n++) results[(*count)++] = Result{{n + 1}, n ? 0 : WORKSPACE, SUCCESS, 1.0f, {}};
  return *count ? SUCCESS : NOT_SUPPORTED;
}
API cublasLtMatmul(void*, const Product* product_at, const void* alpha, const void* a, const Layout* layout_a, const void* b,
                   const Layout* layout_b, const void* beta, const void* c, const Layout* layout_c, void* d, const Layout* layout_d,
                   const Result* algorithm, void* workspace, size_t workspace_bytes, void* stream) {
  const Product& product = *product_at;
  Work work{product, *layout_a, *layout_b, *layout_c, *layout_d};
  if (!fits(product, work.layout_a, work.layout_b, work.layout_c, work.layout_d)) return INVALID_VALUE;
  if (algorithm->algorithm[0] == 1 && (workspace_bytes < WORKSPACE || !workspace || uint64_t(workspace) % 16)) return INVALID_VALUE;
  if (get(product.set, POINTER_MODE)) return NOT_SUPPORTED;  // alpha and beta lie on the host
  work.alpha = product.scale == F64 ? *static_cast<const double*>(alpha) : *static_cast<const float*>(alpha);
  work.beta = product.scale == F64 ? *static_cast<const double*>(beta) : *static_cast<const float*>(beta);
  work.a = const_cast<void*>(a), work.b = const_cast<void*>(b), work.c = const_cast<void*>(c), work.d = d;
  work.workspace = workspace;
  work.workspace_bytes = algorithm->algorithm[0] == 1 ? WORKSPACE : 0;
  return fake_cuda_enqueue(stream, [work] { return work.run(); }) ? EXECUTION_FAILED : SUCCESS;
}
