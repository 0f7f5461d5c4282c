// A libcuda.so.1 without a GPU, good enough for the real pycuda: device memory is host memory, and a module's image is a library that g++
// made of the text of kernels (host.HostCompiler). Every function of cuda.h that is not here answers CUDA_ERROR_NOT_SUPPORTED.
//
// Streams are lazy: what is enqueued happens as late as CUDA allows, when something waits for it. So a host that reads a result, or writes
// anew what is still to be copied, without having waited gets it wrong here every time, not once in a thousand runs. Captures refuse what
// CUDA refuses. A fault stays with its context. Device memory starts as 0xff (NaN), and ends at a page that nobody may touch.
//
// Environment, read by cuInit: FAKE_CUDA_DEVICES (1), FAKE_CUDA_MEMORY (bytes of each, 8 GiB), FAKE_CUDA_ARCH (90), FAKE_CUDA_ORDER
// (of the threads of a launch: 0 forward, 1 reversed, 2 shuffled). Functions for tests are at the end: fake_cuda_*.
#include <cuda.h>
#include <dlfcn.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "fake_driver.h"

#define API extern "C" __attribute__((visibility("default"))) CUresult
namespace {
using Operation = std::function<CUresult()>;

// What a stream did while it was captured: operations of several streams, in the order in which they were enqueued.
struct Graph {
  std::vector<Operation> nodes;
};
struct Capture {
  Graph graph;
  CUstream origin;
  pid_t thread;
  CUstreamCaptureMode mode;
  bool invalid = false;
  std::map<CUstream, size_t> enqueued, joined;  // operations of each stream, and how many of them `origin` has waited for
};
struct Context {
  int device;
  bool primary = false;
  int references = 0;
  CUresult fault = CUDA_SUCCESS;  // stays: a context is lost with its first fault
  std::string why;
  std::set<CUstream> streams;
  std::set<CUcontext> peers;
};
struct Stream {
  Context* context;
  bool blocking;  // waits for the legacy default stream, and is waited for by it
  std::deque<Operation> queue;
  size_t done = 0;  // operations that have happened, and left the queue
  std::shared_ptr<Capture> capture;
  size_t enqueued() const { return done + queue.size(); }
};
struct Event {
  Stream* stream = nullptr;  // where it was recorded last, after `position` operations
  size_t position = 0;
  double milliseconds = -1;
  std::shared_ptr<Capture> capture;
  bool timed = true;
};
struct Allocation {
  size_t size, mapped;
  char* map;
  Context* context;
};
struct Function {
  std::string name;
  fake_cuda::Entry run;
  size_t (*pack)(const void* const*, char*);
};
struct Module {
  void* library;
  std::vector<std::unique_ptr<Function>> functions;
};
struct Device {
  size_t used = 0;
  Context* primary = nullptr;
  Stream legacy;
};

std::recursive_mutex mutex;
std::vector<Device> devices;
pid_t started_by;
size_t memory_of_device;
int architecture, order;
thread_local std::vector<Context*> current;
std::map<CUdeviceptr, Allocation> allocations;
std::map<uintptr_t, size_t> pinned;
std::set<Capture*> captures;
FakeCudaCounters counters;
int fail_after, fail_code;

size_t from_environment(const char* name, size_t otherwise) {
  const char* text = getenv(name);
  return text ? strtoull(text, nullptr, 10) : otherwise;
}
double now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e3 + t.tv_nsec * 1e-6;
}
pid_t this_thread() { return gettid(); }

// What nearly every function begins with.
#define LOCK                                                                            \
  const std::lock_guard lock(mutex);                                                    \
  if (!started_by || started_by != getpid()) return CUDA_ERROR_NOT_INITIALIZED
#define IN_CONTEXT                                                                      \
  LOCK;                                                                                 \
  if (current.empty()) return CUDA_ERROR_INVALID_CONTEXT;                               \
  if (current.back()->fault) return current.back()->fault
#define TRY(call)                                                                       \
  if (const CUresult tried = (call)) return tried

// A call that CUDA refuses while a stream is captured (mode permitting); it spoils the capture.
CUresult refuse_in_capture(CUresult code = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED) {
  for (Capture* capture : captures) {
    if (capture->mode == CU_STREAM_CAPTURE_MODE_RELAXED) continue;
    if (capture->mode == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL && capture->thread != this_thread()) continue;
    capture->invalid = true;
    return code;
  }
  return CUDA_SUCCESS;
}

// Streams ----------------------------------------------------------------------------------------------------------------------------------

CUresult drain(Stream* stream, size_t up_to) {
  while (stream->done < up_to && !stream->queue.empty()) {
    if (stream->context->fault) return stream->context->fault;
    const Operation operation = std::move(stream->queue.front());
    stream->queue.pop_front();
    stream->done++;
    const CUresult result = operation();
    if (result) {
      stream->context->fault = result;
      return result;
    }
  }
  return stream->context->fault;
}
CUresult drain(Stream* stream) { return drain(stream, stream->enqueued()); }

Stream* stream_of(CUstream handle) {
  if (handle == nullptr || handle == CU_STREAM_LEGACY || handle == CU_STREAM_PER_THREAD) {
    Stream& legacy = devices[current.back()->device].legacy;
    legacy.context = current.back();
    return &legacy;
  }
  return reinterpret_cast<Stream*>(handle);
}
bool is_legacy(const Stream* stream) { return stream == &devices[stream->context->device].legacy; }

// Everything that the legacy default stream waits for.
CUresult drain_blocking(Context* context) {
  for (CUstream handle : context->streams) {
    auto* stream = reinterpret_cast<Stream*>(handle);
    if (stream->blocking) TRY(drain(stream));
  }
  return CUDA_SUCCESS;
}
CUresult drain_all(Context* context) {
  for (CUstream handle : context->streams) TRY(drain(reinterpret_cast<Stream*>(handle)));
  return context->fault;
}

CUresult enqueue(CUstream handle, Operation operation) {
  Stream* stream = stream_of(handle);
  if (stream->context->fault) return stream->context->fault;
  if (stream->capture) {
    if (stream->capture->invalid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    stream->capture->graph.nodes.push_back(std::move(operation));
    stream->capture->enqueued[handle]++;
    return CUDA_SUCCESS;
  }
  if (is_legacy(stream)) {  // waits for all blocking streams of its context, and they for it: happens at once
    TRY(refuse_in_capture(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT));
    TRY(drain_blocking(stream->context));
    const CUresult result = operation();
    if (result) stream->context->fault = result;
    return result;
  }
  stream->queue.push_back(std::move(operation));
  return CUDA_SUCCESS;
}

// Memory -----------------------------------------------------------------------------------------------------------------------------------

const Allocation* allocation_of(CUdeviceptr at) {
  auto found = allocations.upper_bound(at);
  if (found == allocations.begin()) return nullptr;
  --found;
  return at < found->first + found->second.size ? &found->second : nullptr;
}
bool on_device(CUdeviceptr at, size_t size) {
  auto found = allocations.upper_bound(at);
  if (found == allocations.begin()) return size == 0;
  --found;
  return at + size <= found->first + found->second.size;
}
bool is_pinned(const void* at, size_t size) {
  auto found = pinned.upper_bound(uintptr_t(at));
  if (found == pinned.begin()) return false;
  --found;
  return uintptr_t(at) + size <= found->first + found->second;
}
#define ON_DEVICE(at, size) \
  if (!on_device(at, size)) return CUDA_ERROR_INVALID_VALUE

// The bytes end 256-aligned at a page that nobody may touch.
CUresult allocate(CUdeviceptr* at, size_t size) {
  Context* context = current.back();
  Device& device = devices[context->device];
  if (!size) return CUDA_ERROR_INVALID_VALUE;
  if (device.used + size > memory_of_device) return CUDA_ERROR_OUT_OF_MEMORY;
  const size_t page = 4096, rounded = (size + 255) / 256 * 256, inner = (rounded + page - 1) / page * page;
  void* map = mmap(nullptr, inner + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (map == MAP_FAILED) return CUDA_ERROR_OUT_OF_MEMORY;
  char* bytes = static_cast<char*>(map) + page;
  mprotect(bytes, inner, PROT_READ | PROT_WRITE);
  if (size < size_t(1) << 30) memset(bytes, 0xff, inner);
  *at = CUdeviceptr(bytes + inner - rounded);
  allocations[*at] = {size, inner + 2 * page, static_cast<char*>(map), context};
  device.used += size;
  counters.live_allocations++;
  counters.live_bytes += size;
  counters.peak_bytes = std::max(counters.peak_bytes, counters.live_bytes);
  return CUDA_SUCCESS;
}
void release(std::map<CUdeviceptr, Allocation>::iterator found) {
  devices[found->second.context->device].used -= found->second.size;
  counters.live_allocations--;
  counters.live_bytes -= found->second.size;
  munmap(found->second.map, found->second.mapped);
  allocations.erase(found);
}

Operation copying(void* to, const void* from, size_t size) {
  return [=] {
    memmove(to, from, size);
    counters.copies++;
    return CUDA_SUCCESS;
  };
}
template <class T>
Operation filling(CUdeviceptr at, T value, size_t count) {
  return [=] {
    for (size_t n = 0; n < count; n++) reinterpret_cast<T*>(at)[n] = value;
    return CUDA_SUCCESS;
  };
}

// A copy that the host waits for, on the legacy default stream.
CUresult copy_now(void* to, const void* from, size_t size) {
  return enqueue(nullptr, copying(to, from, size));
}

// Pageable memory is read before the call returns; pinned memory is read when the copy happens.
CUresult copy_from_host(CUdeviceptr to, const void* from, size_t size, CUstream stream) {
  if (is_pinned(from, size) || stream_of(stream)->capture) return enqueue(stream, copying(reinterpret_cast<void*>(to), from, size));
  auto kept = std::make_shared<std::string>(static_cast<const char*>(from), size);
  return enqueue(stream, [=] { return copying(reinterpret_cast<void*>(to), kept->data(), size)(); });
}
CUresult copy_to_host(void* to, CUdeviceptr from, size_t size, CUstream stream) {
  TRY(enqueue(stream, copying(to, reinterpret_cast<void*>(from), size)));
  if (is_pinned(to, size) || stream_of(stream)->capture) return CUDA_SUCCESS;
  return drain(stream_of(stream));
}

// Kernels ----------------------------------------------------------------------------------------------------------------------------------

CUresult run_kernel(Context* context, const Function* function, const unsigned* shape, const std::string& parameters) {
  char error[512] = "";
  fake_cuda::Launch launch{{shape[0], shape[1], shape[2]}, {shape[3], shape[4], shape[5]}, order, parameters.data(), error, sizeof error, 0, 0};
  counters.launches++;
  if (fail_after && --fail_after == 0) {
    context->why = function->name + ": a fault that a test asked for";
    return CUresult(fail_code);
  }
  if (!function->run(&launch)) return CUDA_SUCCESS;
  context->why = error;
  return launch.fault_address ? CUDA_ERROR_ILLEGAL_ADDRESS : CUDA_ERROR_LAUNCH_FAILED;
}

// The image of a module is an ELF file whose size is where its section headers end, as linkers write it.
CUresult load_image(const void* image, CUmodule* module) {
  const auto* head = static_cast<const Elf64_Ehdr*>(image);
  if (memcmp(head->e_ident, ELFMAG, SELFMAG) != 0) return CUDA_ERROR_INVALID_IMAGE;
  if (head->e_type != ET_DYN) return CUDA_ERROR_NO_BINARY_FOR_GPU;  // a cubin of a real GPU
  const int file = memfd_create("kernel", 0);
  const size_t size = head->e_shoff + size_t(head->e_shnum) * head->e_shentsize;
  if (file < 0 || write(file, image, size) != ssize_t(size)) return CUDA_ERROR_OUT_OF_MEMORY;
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", file);
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);  // the file stays open: a later one must not have its name
  if (!library) return CUDA_ERROR_INVALID_IMAGE;
  counters.modules++;
  *module = reinterpret_cast<CUmodule>(new Module{library, {}});
  return CUDA_SUCCESS;
}

struct Status {
  CUresult code;
  const char *name, *text;
};
#define STATUS(name, text) {name, #name, text}
constexpr Status STATUSES[] = {
    STATUS(CUDA_SUCCESS, "no error"),
    STATUS(CUDA_ERROR_INVALID_VALUE, "invalid argument"),
    STATUS(CUDA_ERROR_OUT_OF_MEMORY, "out of memory"),
    STATUS(CUDA_ERROR_NOT_INITIALIZED, "initialization error"),
    STATUS(CUDA_ERROR_NO_DEVICE, "no CUDA-capable device is detected"),
    STATUS(CUDA_ERROR_INVALID_DEVICE, "invalid device ordinal"),
    STATUS(CUDA_ERROR_INVALID_IMAGE, "device kernel image is invalid"),
    STATUS(CUDA_ERROR_INVALID_CONTEXT, "invalid device context"),
    STATUS(CUDA_ERROR_NO_BINARY_FOR_GPU, "no kernel image is available for execution on the device"),
    STATUS(CUDA_ERROR_NOT_FOUND, "named symbol not found"),
    STATUS(CUDA_ERROR_NOT_READY, "device not ready"),
    STATUS(CUDA_ERROR_ILLEGAL_ADDRESS, "an illegal memory access was encountered"),
    STATUS(CUDA_ERROR_HARDWARE_STACK_ERROR, "hardware stack error"),
    STATUS(CUDA_ERROR_ILLEGAL_INSTRUCTION, "an illegal instruction was encountered"),
    STATUS(CUDA_ERROR_MISALIGNED_ADDRESS, "misaligned address"),
    STATUS(CUDA_ERROR_LAUNCH_FAILED, "unspecified launch failure"),
    STATUS(CUDA_ERROR_LAUNCH_TIMEOUT, "the launch timed out and was terminated"),
    STATUS(CUDA_ERROR_ECC_UNCORRECTABLE, "uncorrectable ECC error encountered"),
    STATUS(CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED, "peer access is already enabled"),
    STATUS(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, "part or all of the requested memory range is already mapped"),
    STATUS(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, "pointer does not correspond to a registered memory region"),
    STATUS(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "operation not permitted when stream is capturing"),
    STATUS(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "operation failed due to a previous error during capture"),
    STATUS(CUDA_ERROR_STREAM_CAPTURE_UNJOINED, "capturing stream has unjoined work"),
    STATUS(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, "operation would make the legacy stream depend on a capturing blocking stream"),
    STATUS(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD, "attempt to terminate a thread-local capture sequence from another thread"),
    STATUS(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, "the capture was not initiated in this stream"),
    STATUS(CUDA_ERROR_CAPTURED_EVENT, "operation not permitted on an event last recorded in a capturing stream"),
    STATUS(CUDA_ERROR_NOT_SUPPORTED, "operation not supported"),
};

int attribute_of(CUdevice_attribute attribute) {
  switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK: case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X: case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y: return 1024;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z: return 64;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X: return 0x7fffffff;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y: case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z: return 65535;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK: return 48 << 10;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: return 227 << 10;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR: return 228 << 10;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: return 132;
    case CU_DEVICE_ATTRIBUTE_WARP_SIZE: return 32;
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK: case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR: return 65536;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR: return 2048;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR: return 32;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: return architecture / 10;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: return architecture % 10;
    case CU_DEVICE_ATTRIBUTE_CLOCK_RATE: case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE: return 1000000;
    case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH: return 5120;
    case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE: return 50 << 20;
    case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING: case CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY: case CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS: return 1;
    default: return 0;
  }
}
}  // namespace

// Devices and contexts ---------------------------------------------------------------------------------------------------------------------

API cuInit(unsigned) {
  const std::lock_guard lock(mutex);
  if (started_by) return started_by == getpid() ? CUDA_SUCCESS : CUDA_ERROR_NOT_INITIALIZED;
  const size_t count = from_environment("FAKE_CUDA_DEVICES", 1);
  if (!count) return CUDA_ERROR_NO_DEVICE;
  devices.resize(count);
  memory_of_device = from_environment("FAKE_CUDA_MEMORY", size_t(8) << 30);
  architecture = int(from_environment("FAKE_CUDA_ARCH", 90));
  order = int(from_environment("FAKE_CUDA_ORDER", 0));
  started_by = getpid();
  return CUDA_SUCCESS;
}
API cuDriverGetVersion(int* version) {
  *version = 13000;
  return CUDA_SUCCESS;
}
API cuGetErrorString(CUresult code, const char** text) {
  for (const Status& status : STATUSES)
    if (status.code == code) return *text = status.text, CUDA_SUCCESS;
  *text = nullptr;
  return CUDA_ERROR_INVALID_VALUE;
}
API cuGetErrorName(CUresult code, const char** text) {
  for (const Status& status : STATUSES)
    if (status.code == code) return *text = status.name, CUDA_SUCCESS;
  *text = nullptr;
  return CUDA_ERROR_INVALID_VALUE;
}
API cuDeviceGetCount(int* count) {
  LOCK;
  *count = int(devices.size());
  return CUDA_SUCCESS;
}
API cuDeviceGet(CUdevice* device, int ordinal) {
  LOCK;
  if (ordinal < 0 || size_t(ordinal) >= devices.size()) return CUDA_ERROR_INVALID_DEVICE;
  *device = ordinal;
  return CUDA_SUCCESS;
}
API cuDeviceGetName(char* name, int size, CUdevice device) {
  snprintf(name, size, "Fake GPU %d", device);
  return CUDA_SUCCESS;
}
API cuDeviceGetPCIBusId(char* name, int size, CUdevice device) {
  snprintf(name, size, "0000:%02x:00.0", device);
  return CUDA_SUCCESS;
}
API cuDeviceGetUuid_v2(CUuuid* uuid, CUdevice device) {
  memset(uuid, 0, sizeof *uuid);
  uuid->bytes[0] = char(device + 1);
  return CUDA_SUCCESS;
}
API cuDeviceComputeCapability(int* major, int* minor, CUdevice) {
  *major = architecture / 10, *minor = architecture % 10;
  return CUDA_SUCCESS;
}
API cuDeviceTotalMem_v2(size_t* bytes, CUdevice) {
  *bytes = memory_of_device;
  return CUDA_SUCCESS;
}
API cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice) {
  *value = attribute_of(attribute);
  return CUDA_SUCCESS;
}
API cuDeviceCanAccessPeer(int* can, CUdevice one, CUdevice other) {
  *can = one != other;
  return CUDA_SUCCESS;
}

API cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) {
  LOCK;
  Context*& primary = devices[device].primary;
  if (!primary) primary = new Context{device, true};
  primary->references++;
  *context = reinterpret_cast<CUcontext>(primary);
  return CUDA_SUCCESS;
}
API cuDevicePrimaryCtxReset_v2(CUdevice device) {  // gives back all that was allocated in it, fault or not
  LOCK;
  Context* primary = devices[device].primary;
  if (!primary) return CUDA_SUCCESS;
  for (auto at = allocations.begin(); at != allocations.end();) {
    const auto found = at++;
    if (found->second.context == primary) release(found);
  }
  primary->fault = CUDA_SUCCESS;
  for (CUstream handle : primary->streams) reinterpret_cast<Stream*>(handle)->queue.clear();
  return CUDA_SUCCESS;
}
API cuDevicePrimaryCtxRelease_v2(CUdevice device) {
  {
    LOCK;
    Context* primary = devices[device].primary;
    if (!primary || !primary->references) return CUDA_ERROR_INVALID_CONTEXT;
    if (--primary->references) return CUDA_SUCCESS;
    counters.leaked_allocations = counters.live_allocations;
  }
  return cuDevicePrimaryCtxReset_v2(device);
}
API cuDevicePrimaryCtxGetState(CUdevice device, unsigned* flags, int* active) {
  LOCK;
  *flags = 0;
  *active = devices[device].primary && devices[device].primary->references;
  return CUDA_SUCCESS;
}
API cuCtxCreate_v4(CUcontext* context, CUctxCreateParams*, unsigned, CUdevice device) {
  LOCK;
  auto* made = new Context{device};
  current.push_back(made);
  *context = reinterpret_cast<CUcontext>(made);
  return CUDA_SUCCESS;
}
API cuCtxDestroy_v2(CUcontext) { return CUDA_SUCCESS; }
API cuCtxPushCurrent_v2(CUcontext context) {
  LOCK;
  if (!context) return CUDA_ERROR_INVALID_CONTEXT;
  current.push_back(reinterpret_cast<Context*>(context));
  return CUDA_SUCCESS;
}
API cuCtxPopCurrent_v2(CUcontext* context) {
  LOCK;
  if (current.empty()) return CUDA_ERROR_INVALID_CONTEXT;
  if (context) *context = reinterpret_cast<CUcontext>(current.back());
  current.pop_back();
  return CUDA_SUCCESS;
}
API cuCtxGetCurrent(CUcontext* context) {
  LOCK;
  *context = current.empty() ? nullptr : reinterpret_cast<CUcontext>(current.back());
  return CUDA_SUCCESS;
}
API cuCtxSetCurrent(CUcontext context) {
  LOCK;
  if (!current.empty()) current.pop_back();
  if (context) current.push_back(reinterpret_cast<Context*>(context));
  return CUDA_SUCCESS;
}
API cuCtxAttach(CUcontext* context, unsigned) {
  LOCK;
  if (current.empty()) return CUDA_ERROR_INVALID_CONTEXT;
  *context = reinterpret_cast<CUcontext>(current.back());
  return CUDA_SUCCESS;
}
API cuCtxDetach(CUcontext) { return CUDA_SUCCESS; }
API cuCtxGetApiVersion(CUcontext, unsigned* version) {
  *version = 13000;
  return CUDA_SUCCESS;
}
API cuCtxGetDevice(CUdevice* device) {
  LOCK;
  if (current.empty()) return CUDA_ERROR_INVALID_CONTEXT;
  *device = current.back()->device;
  return CUDA_SUCCESS;
}
API cuCtxSynchronize() {
  IN_CONTEXT;
  TRY(refuse_in_capture());
  return drain_all(current.back());
}
API cuCtxEnablePeerAccess(CUcontext peer, unsigned) {
  IN_CONTEXT;
  return current.back()->peers.insert(peer).second ? CUDA_SUCCESS : CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED;
}

// Memory -----------------------------------------------------------------------------------------------------------------------------------

API cuMemGetInfo_v2(size_t* free_bytes, size_t* total) {
  IN_CONTEXT;
  *total = memory_of_device;
  *free_bytes = memory_of_device - devices[current.back()->device].used;
  return CUDA_SUCCESS;
}
API cuMemAlloc_v2(CUdeviceptr* at, size_t size) {
  IN_CONTEXT;
  TRY(refuse_in_capture());
  return allocate(at, size);
}
API cuMemFree_v2(CUdeviceptr at) {
  IN_CONTEXT;
  TRY(refuse_in_capture());
  const auto found = allocations.find(at);
  if (found == allocations.end()) return CUDA_ERROR_INVALID_VALUE;
  TRY(drain_all(found->second.context));
  release(found);
  return CUDA_SUCCESS;
}
API cuMemGetAddressRange_v2(CUdeviceptr* base, size_t* size, CUdeviceptr at) {
  LOCK;
  auto found = allocations.upper_bound(at);
  if (!allocation_of(at)) return CUDA_ERROR_NOT_FOUND;
  --found;
  if (base) *base = found->first;
  if (size) *size = found->second.size;
  return CUDA_SUCCESS;
}
API cuMemHostAlloc(void** at, size_t size, unsigned) {
  IN_CONTEXT;
  TRY(refuse_in_capture());
  *at = aligned_alloc(4096, (size + 4095) / 4096 * 4096);
  memset(*at, 0xff, size);
  pinned[uintptr_t(*at)] = size;
  counters.live_pinned++;
  return CUDA_SUCCESS;
}
API cuMemFreeHost(void* at) {
  IN_CONTEXT;
  if (!pinned.erase(uintptr_t(at))) return CUDA_ERROR_INVALID_VALUE;
  TRY(drain_all(current.back()));
  counters.live_pinned--;
  free(at);
  return CUDA_SUCCESS;
}
API cuMemHostGetDevicePointer_v2(CUdeviceptr* at, void* host, unsigned) {
  *at = CUdeviceptr(host);
  return CUDA_SUCCESS;
}
API cuMemHostGetFlags(unsigned* flags, void*) {
  *flags = 0;
  return CUDA_SUCCESS;
}
API cuMemHostRegister_v2(void* at, size_t size, unsigned) {
  IN_CONTEXT;
  if (is_pinned(at, 1)) return CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
  pinned[uintptr_t(at)] = size;
  counters.live_pinned++;
  return CUDA_SUCCESS;
}
API cuMemHostUnregister(void* at) {
  IN_CONTEXT;
  TRY(drain_all(current.back()));
  if (!pinned.erase(uintptr_t(at))) return CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
  counters.live_pinned--;
  return CUDA_SUCCESS;
}
API cuPointerGetAttribute(void* value, CUpointer_attribute attribute, CUdeviceptr at) {
  LOCK;
  const Allocation* found = allocation_of(at);
  if (!found && !is_pinned(reinterpret_cast<void*>(at), 1)) return CUDA_ERROR_INVALID_VALUE;
  switch (attribute) {
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE: *static_cast<unsigned*>(value) = found ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST; break;
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL: *static_cast<int*>(value) = found ? found->context->device : 0; break;
    case CU_POINTER_ATTRIBUTE_CONTEXT: *static_cast<CUcontext*>(value) = found ? reinterpret_cast<CUcontext>(found->context) : nullptr; break;
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER: *static_cast<CUdeviceptr*>(value) = at; break;
    case CU_POINTER_ATTRIBUTE_IS_MANAGED: *static_cast<unsigned*>(value) = 0; break;
    default: return CUDA_ERROR_NOT_SUPPORTED;
  }
  return CUDA_SUCCESS;
}

API cuMemcpyHtoD_v2(CUdeviceptr to, const void* from, size_t size) {
  IN_CONTEXT;
  ON_DEVICE(to, size);
  return copy_now(reinterpret_cast<void*>(to), from, size);
}
API cuMemcpyDtoH_v2(void* to, CUdeviceptr from, size_t size) {
  IN_CONTEXT;
  ON_DEVICE(from, size);
  return copy_now(to, reinterpret_cast<void*>(from), size);
}
API cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t size) {
  IN_CONTEXT;
  ON_DEVICE(from, size);
  ON_DEVICE(to, size);
  return copy_now(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), size);
}
API cuMemcpyPeer(CUdeviceptr to, CUcontext, CUdeviceptr from, CUcontext, size_t size) { return cuMemcpyDtoD_v2(to, from, size); }
API cuMemcpy(CUdeviceptr to, CUdeviceptr from, size_t size) {
  IN_CONTEXT;
  return copy_now(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), size);
}
API cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, size_t size, CUstream stream) {
  IN_CONTEXT;
  ON_DEVICE(to, size);
  return copy_from_host(to, from, size, stream);
}
API cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, size_t size, CUstream stream) {
  IN_CONTEXT;
  ON_DEVICE(from, size);
  return copy_to_host(to, from, size, stream);
}
API cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream) {
  IN_CONTEXT;
  ON_DEVICE(from, size);
  ON_DEVICE(to, size);
  return enqueue(stream, copying(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), size));
}
API cuMemcpyPeerAsync(CUdeviceptr to, CUcontext, CUdeviceptr from, CUcontext, size_t size, CUstream stream) {
  return cuMemcpyDtoDAsync_v2(to, from, size, stream);
}
API cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream) {
  if (!allocation_of(from)) return cuMemcpyHtoDAsync_v2(to, reinterpret_cast<void*>(from), size, stream);
  if (!allocation_of(to)) return cuMemcpyDtoHAsync_v2(reinterpret_cast<void*>(to), from, size, stream);
  return cuMemcpyDtoDAsync_v2(to, from, size, stream);
}
#define MEMSET(bits, name, name_async, T)                                     \
  API name(CUdeviceptr at, T value, size_t count) {                           \
    IN_CONTEXT;                                                               \
    ON_DEVICE(at, count * sizeof(T));                                         \
    return enqueue(nullptr, filling<T>(at, value, count));                    \
  }                                                                           \
  API name_async(CUdeviceptr at, T value, size_t count, CUstream stream) {    \
    IN_CONTEXT;                                                               \
    ON_DEVICE(at, count * sizeof(T));                                         \
    return enqueue(stream, filling<T>(at, value, count));                     \
  }
MEMSET(8, cuMemsetD8_v2, cuMemsetD8Async, unsigned char)
MEMSET(16, cuMemsetD16_v2, cuMemsetD16Async, unsigned short)
MEMSET(32, cuMemsetD32_v2, cuMemsetD32Async, unsigned)

// Streams and events -----------------------------------------------------------------------------------------------------------------------

API cuStreamCreate(CUstream* stream, unsigned flags) {
  IN_CONTEXT;
  *stream = reinterpret_cast<CUstream>(new Stream{current.back(), !(flags & CU_STREAM_NON_BLOCKING), {}, 0, nullptr});
  current.back()->streams.insert(*stream);
  counters.live_streams++;
  return CUDA_SUCCESS;
}
API cuStreamCreateWithPriority(CUstream* stream, unsigned flags, int) { return cuStreamCreate(stream, flags); }
API cuStreamDestroy_v2(CUstream handle) {
  LOCK;
  auto* stream = reinterpret_cast<Stream*>(handle);
  drain(stream);
  stream->context->streams.erase(handle);
  counters.live_streams--;
  return CUDA_SUCCESS;  // kept: an event may still name it
}
API cuStreamSynchronize(CUstream handle) {
  IN_CONTEXT;
  Stream* stream = stream_of(handle);
  if (stream->capture) return stream->capture->invalid = true, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  if (is_legacy(stream)) return drain_blocking(stream->context);
  return drain(stream);
}
API cuStreamQuery(CUstream handle) {
  IN_CONTEXT;
  Stream* stream = stream_of(handle);
  if (stream->capture) return stream->capture->invalid = true, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  return drain(stream);  // asked for, it is done
}
API cuStreamGetCtx(CUstream stream, CUcontext* context) {
  IN_CONTEXT;
  *context = reinterpret_cast<CUcontext>(stream_of(stream)->context);
  return CUDA_SUCCESS;
}
API cuStreamWaitEvent(CUstream handle, CUevent event_handle, unsigned) {
  IN_CONTEXT;
  auto* event = reinterpret_cast<Event*>(event_handle);
  Stream* stream = stream_of(handle);
  if (event->capture) {  // the stream joins the capture, or its origin waits for one that has
    if (stream->capture && stream->capture != event->capture) return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
    stream->capture = event->capture;
    if (handle == event->capture->origin) event->capture->joined[reinterpret_cast<CUstream>(event->stream)] = event->position;
    return CUDA_SUCCESS;
  }
  if (stream->capture) return stream->capture->invalid = true, CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
  if (!event->stream) return CUDA_SUCCESS;
  Stream* recorded = event->stream;
  const size_t position = event->position;
  return enqueue(handle, [=] { return drain(recorded, position); });
}
API cuEventCreate(CUevent* event, unsigned flags) {
  IN_CONTEXT;
  auto* made = new Event;
  made->timed = !(flags & CU_EVENT_DISABLE_TIMING);
  *event = reinterpret_cast<CUevent>(made);
  counters.live_events++;
  return CUDA_SUCCESS;
}
API cuEventDestroy_v2(CUevent) {  // kept: a queue may still name it
  LOCK;
  counters.live_events--;
  return CUDA_SUCCESS;
}
API cuEventRecord(CUevent handle, CUstream stream_handle) {
  IN_CONTEXT;
  auto* event = reinterpret_cast<Event*>(handle);
  Stream* stream = stream_of(stream_handle);
  event->stream = stream;
  event->capture = stream->capture;
  if (stream->capture) {
    event->position = stream->capture->enqueued[stream_handle];
    return CUDA_SUCCESS;
  }
  event->milliseconds = -1;
  TRY(enqueue(stream_handle, [=] { return event->milliseconds = now(), CUDA_SUCCESS; }));
  event->position = stream->enqueued();
  return CUDA_SUCCESS;
}
API cuEventRecordWithFlags(CUevent event, CUstream stream, unsigned) { return cuEventRecord(event, stream); }
API cuEventSynchronize(CUevent handle) {
  IN_CONTEXT;
  auto* event = reinterpret_cast<Event*>(handle);
  if (event->capture) return CUDA_ERROR_CAPTURED_EVENT;
  return event->stream ? drain(event->stream, event->position) : CUDA_SUCCESS;
}
API cuEventQuery(CUevent event) { return cuEventSynchronize(event); }
API cuEventElapsedTime_v2(float* milliseconds, CUevent from, CUevent to) {
  IN_CONTEXT;
  const auto *first = reinterpret_cast<Event*>(from), *second = reinterpret_cast<Event*>(to);
  if (!first->timed || !second->timed || !first->stream || !second->stream) return CUDA_ERROR_INVALID_HANDLE;
  if (first->milliseconds < 0 || second->milliseconds < 0) return CUDA_ERROR_NOT_READY;
  *milliseconds = float(second->milliseconds - first->milliseconds);
  return CUDA_SUCCESS;
}

// Captures and graphs ----------------------------------------------------------------------------------------------------------------------

API cuStreamBeginCapture_v2(CUstream handle, CUstreamCaptureMode mode) {
  IN_CONTEXT;
  Stream* stream = stream_of(handle);
  if (is_legacy(stream)) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  if (stream->capture) return CUDA_ERROR_ILLEGAL_STATE;
  stream->capture = std::make_shared<Capture>();
  stream->capture->origin = handle;
  stream->capture->thread = this_thread();
  stream->capture->mode = mode;
  captures.insert(stream->capture.get());
  return CUDA_SUCCESS;
}
API cuStreamEndCapture(CUstream handle, CUgraph* graph) {
  IN_CONTEXT;
  *graph = nullptr;
  const std::shared_ptr<Capture> capture = stream_of(handle)->capture;
  if (!capture) return CUDA_ERROR_ILLEGAL_STATE;
  if (capture->origin != handle) return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
  if (capture->mode == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL && capture->thread != this_thread()) return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
  captures.erase(capture.get());
  for (CUstream each : current.back()->streams)
    if (reinterpret_cast<Stream*>(each)->capture == capture) reinterpret_cast<Stream*>(each)->capture = nullptr;
  if (capture->invalid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  for (const auto& [stream, count] : capture->enqueued)
    if (stream != handle && capture->joined[stream] < count) return CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
  *graph = reinterpret_cast<CUgraph>(new Graph(capture->graph));
  counters.live_graphs++;
  return CUDA_SUCCESS;
}
API cuStreamIsCapturing(CUstream handle, CUstreamCaptureStatus* status) {
  IN_CONTEXT;
  const Stream* stream = stream_of(handle);
  *status = !stream->capture            ? CU_STREAM_CAPTURE_STATUS_NONE
            : stream->capture->invalid ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
                                       : CU_STREAM_CAPTURE_STATUS_ACTIVE;
  return CUDA_SUCCESS;
}
API cuGraphGetNodes(CUgraph graph, CUgraphNode*, size_t* count) {
  LOCK;
  *count = reinterpret_cast<Graph*>(graph)->nodes.size();
  return CUDA_SUCCESS;
}
API cuGraphInstantiateWithFlags(CUgraphExec* exec, CUgraph graph, unsigned long long) {
  IN_CONTEXT;
  *exec = reinterpret_cast<CUgraphExec>(new Graph(*reinterpret_cast<Graph*>(graph)));
  counters.live_graphs++;
  counters.graph_nodes = int(reinterpret_cast<Graph*>(graph)->nodes.size());
  return CUDA_SUCCESS;
}
API cuGraphLaunch(CUgraphExec exec, CUstream stream) {
  IN_CONTEXT;
  counters.graph_launches++;
  const auto* graph = reinterpret_cast<Graph*>(exec);
  return enqueue(stream, [nodes = graph->nodes] {
    for (const Operation& node : nodes) TRY(node());
    return CUDA_SUCCESS;
  });
}
API cuGraphDestroy(CUgraph graph) {
  LOCK;
  delete reinterpret_cast<Graph*>(graph);
  counters.live_graphs--;
  return CUDA_SUCCESS;
}
API cuGraphExecDestroy(CUgraphExec exec) { return cuGraphDestroy(reinterpret_cast<CUgraph>(exec)); }

// Modules and launches ---------------------------------------------------------------------------------------------------------------------

API cuModuleLoadDataEx(CUmodule* module, const void* image, unsigned count, CUjit_option* options, void** values) {
  IN_CONTEXT;
  TRY(refuse_in_capture());
  for (unsigned n = 0; n < count; n++)  // the logs are empty
    if (options[n] == CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES || options[n] == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES) values[n] = nullptr;
  return load_image(image, module);
}
API cuModuleLoadData(CUmodule* module, const void* image) { return cuModuleLoadDataEx(module, image, 0, nullptr, nullptr); }
API cuModuleUnload(CUmodule module) {
  IN_CONTEXT;
  TRY(drain_all(current.back()));
  dlclose(reinterpret_cast<Module*>(module)->library);
  delete reinterpret_cast<Module*>(module);
  counters.modules--;
  return CUDA_SUCCESS;
}
API cuModuleGetFunction(CUfunction* function, CUmodule handle, const char* name) {
  IN_CONTEXT;
  auto* module = reinterpret_cast<Module*>(handle);
  const std::string symbol = std::string("cuda_host_") + name;
  void *run = dlsym(module->library, symbol.c_str()), *pack = dlsym(module->library, (symbol + "_pack").c_str());
  if (!run || !pack) return CUDA_ERROR_NOT_FOUND;
  module->functions.push_back(std::make_unique<Function>(
      Function{name, reinterpret_cast<fake_cuda::Entry>(run), reinterpret_cast<size_t (*)(const void* const*, char*)>(pack)}));
  *function = reinterpret_cast<CUfunction>(module->functions.back().get());
  return CUDA_SUCCESS;
}
API cuFuncGetAttribute(int* value, CUfunction_attribute attribute, CUfunction) {
  *value = attribute == CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK ? 1024 : attribute == CU_FUNC_ATTRIBUTE_NUM_REGS ? 32 : 0;
  return CUDA_SUCCESS;
}
API cuFuncSetAttribute(CUfunction, CUfunction_attribute, int) { return CUDA_SUCCESS; }
API cuFuncSetCacheConfig(CUfunction, CUfunc_cache) { return CUDA_SUCCESS; }
API cuFuncSetBlockShape(CUfunction, int, int, int) { return CUDA_SUCCESS; }  // old; pycuda calls it before every launch
API cuLaunchKernel(CUfunction handle, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned dynamic_shared,
                   CUstream stream, void** parameters, void** extra) {
  IN_CONTEXT;
  const auto* function = reinterpret_cast<Function*>(handle);
  if (!gx || !gy || !gz || !bx || !by || !bz || gx > 0x7fffffff || gy > 65535 || gz > 65535 || bz > 64 || bx * by * bz > 1024 || dynamic_shared)
    return CUDA_ERROR_INVALID_VALUE;
  const size_t size = function->pack(nullptr, nullptr);
  std::string packed(size, '\0');
  if (parameters) function->pack(parameters, packed.data());
  for (void** item = extra; item && *item != CU_LAUNCH_PARAM_END; item += 2)
    if (*item == CU_LAUNCH_PARAM_BUFFER_POINTER) packed.assign(static_cast<const char*>(item[1]), size);
    else if (*item == CU_LAUNCH_PARAM_BUFFER_SIZE && *static_cast<size_t*>(item[1]) != size) return CUDA_ERROR_INVALID_VALUE;
  Context* context = stream_of(stream)->context;
  return enqueue(stream, [=, shape = std::vector{gx, gy, gz, bx, by, bz}] { return run_kernel(context, function, shape.data(), packed); });
}

// For tests, and for the fake cublasLt -----------------------------------------------------------------------------------------------------

extern "C" __attribute__((visibility("default"))) void fake_cuda_counters(FakeCudaCounters* out) { *out = counters; }

// The n-th launch from now on (1: the next) fails with `code`, which then stays with its context.
extern "C" __attribute__((visibility("default"))) void fake_cuda_fail_launch(int n, int code) { fail_after = n, fail_code = code; }

// What the last fault of the current context was, in words: kernel, block, thread and line.
extern "C" __attribute__((visibility("default"))) const char* fake_cuda_last_fault() { return current.empty() ? "" : current.back()->why.c_str(); }

extern "C" __attribute__((visibility("default"))) CUresult fake_cuda_enqueue(CUstream stream, const std::function<int()>& work) {
  IN_CONTEXT;
  return enqueue(stream, [=] { return counters.products++, CUresult(work()); });
}
