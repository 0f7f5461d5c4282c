// A libcuda.so.1 without a GPU, good enough for the real pycuda: device memory is host memory, and a module's image is a library that g++
// made of the text of kernels (host.HostCompiler). Every function of cuda.h that is not here answers CUDA_ERROR_NOT_SUPPORTED.
//
// Streams are lazy: what is enqueued happens as late as CUDA allows, when something waits for it. So a host that reads a result, or writes
// anew what is still to be copied, without having waited gets it wrong here every time, not once in a thousand runs. Captures refuse what
// CUDA refuses. A fault stays with its context. Device memory starts as 0xff (NaN), and ends at a page that nobody may touch.
//
// Environment, read by cuInit: FAKE_CUDA_DEVICES (1), FAKE_CUDA_MEMORY (bytes of each, 8 GiB), FAKE_CUDA_ARCH (90), FAKE_CUDA_ORDER
// (of the threads of a launch: 0 forward, 1 reversed, 2 shuffled). Functions for tests are at the end: fake_cuda_*.
//
// This file has devices, contexts and memory; fake_streams.cpp streams, graphs and launches; fake_machine.h what stands behind both.
#include <stdio.h>

#include "fake_machine.h"

using namespace fake_cuda;

namespace {
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
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK: return 1024;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X: case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y: return 1024;
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
    case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING: case CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY: return 1;
    case CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS: return 1;
    default: return 0;
  }
}
}  // namespace

// Devices and contexts --------------------------------------------------------------------------------------------------------------------

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

// Memory ----------------------------------------------------------------------------------------------------------------------------------

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
  IN_CONTEXT;
  const Allocation* found = allocation_of(at);
  if (!found && !is_pinned(reinterpret_cast<void*>(at), 1)) return CUDA_ERROR_INVALID_VALUE;
  switch (attribute) {
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE: *static_cast<unsigned*>(value) = found ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST; break;
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL: *static_cast<int*>(value) = found ? found->context->device : 0; break;
    case CU_POINTER_ATTRIBUTE_CONTEXT: *static_cast<Context**>(value) = found ? found->context : nullptr; break;
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

// For tests, and for the fake cublasLt ----------------------------------------------------------------------------------------------------

extern "C" __attribute__((visibility("default"))) void fake_cuda_counters(FakeCudaCounters* out) { *out = counters; }

// The n-th launch from now on (1: the next) fails with `code`, which then stays with its context.
extern "C" __attribute__((visibility("default"))) void fake_cuda_fail_launch(int n, int code) { fail_after = n, fail_code = code; }

// What the last fault of the current context was, in words: kernel, block, thread and line.
extern "C" __attribute__((visibility("default"))) const char* fake_cuda_last_fault() {
  return current.empty() ? "" : current.back()->why.c_str();
}

extern "C" __attribute__((visibility("default"))) CUresult fake_cuda_enqueue(CUstream stream, const std::function<int()>& work) {
  IN_CONTEXT;
  return enqueue(stream, [=] { return counters.products++, CUresult(work()); });
}
