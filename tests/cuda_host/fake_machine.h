// The fake GPUs behind the fake driver: contexts, lazy streams, memory. fake_driver.cpp and fake_streams.cpp are CUDA's words for it.
#pragma once
#include <cuda.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
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

namespace fake_cuda {
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
  Context* context;
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
  Entry run;
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

inline std::recursive_mutex mutex;
inline std::vector<Device> devices;
inline pid_t started_by;
inline size_t memory_of_device;
inline int architecture, order;
inline thread_local std::vector<Context*> current;
inline std::map<CUdeviceptr, Allocation> allocations;
inline std::map<uintptr_t, size_t> pinned;
inline std::set<Capture*> captures;
inline FakeCudaCounters counters;
inline int fail_after, fail_code;

inline size_t from_environment(const char* name, size_t otherwise) {
  const char* text = getenv(name);
  return text ? strtoull(text, nullptr, 10) : otherwise;
}
inline double now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e3 + t.tv_nsec * 1e-6;
}
inline pid_t this_thread() { return gettid(); }

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
inline CUresult refuse_in_capture(CUresult code = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED) {
  for (Capture* capture : captures) {
    if (capture->mode == CU_STREAM_CAPTURE_MODE_RELAXED) continue;
    if (capture->mode == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL && capture->thread != this_thread()) continue;
    capture->invalid = true;
    return code;
  }
  return CUDA_SUCCESS;
}

// Streams ---------------------------------------------------------------------------------------------------------------------------------

inline CUresult drain(Stream* stream, size_t up_to) {
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
inline CUresult drain(Stream* stream) { return drain(stream, stream->enqueued()); }

inline Stream* stream_of(CUstream handle) {
  if (handle == nullptr || handle == CU_STREAM_LEGACY || handle == CU_STREAM_PER_THREAD) {
    Stream& legacy = devices[current.back()->device].legacy;
    legacy.context = current.back();
    return &legacy;
  }
  return reinterpret_cast<Stream*>(handle);
}
inline bool is_legacy(const Stream* stream) { return stream == &devices[stream->context->device].legacy; }

// Everything that the legacy default stream waits for.
inline CUresult drain_blocking(Context* context) {
  for (CUstream handle : context->streams) {
    auto* stream = reinterpret_cast<Stream*>(handle);
    if (stream->blocking) TRY(drain(stream));
  }
  return CUDA_SUCCESS;
}
inline CUresult drain_all(Context* context) {
  for (CUstream handle : context->streams) TRY(drain(reinterpret_cast<Stream*>(handle)));
  return context->fault;
}

inline CUresult enqueue(CUstream handle, Operation operation) {
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

// Memory ----------------------------------------------------------------------------------------------------------------------------------

inline const Allocation* allocation_of(CUdeviceptr at) {
  auto found = allocations.upper_bound(at);
  if (found == allocations.begin()) return nullptr;
  --found;
  return at < found->first + found->second.size ? &found->second : nullptr;
}
inline bool on_device(CUdeviceptr at, size_t size) {
  auto found = allocations.upper_bound(at);
  if (found == allocations.begin()) return size == 0;
  --found;
  return at + size <= found->first + found->second.size;
}
inline bool is_pinned(const void* at, size_t size) {
  auto found = pinned.upper_bound(uintptr_t(at));
  if (found == pinned.begin()) return false;
  --found;
  return uintptr_t(at) + size <= found->first + found->second;
}
#define ON_DEVICE(at, size) \
  if (!on_device(at, size)) return CUDA_ERROR_INVALID_VALUE

// The bytes end 256-aligned at a page that nobody may touch.
inline CUresult allocate(CUdeviceptr* at, size_t size) {
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
inline void release(std::map<CUdeviceptr, Allocation>::iterator found) {
  devices[found->second.context->device].used -= found->second.size;
  counters.live_allocations--;
  counters.live_bytes -= found->second.size;
  munmap(found->second.map, found->second.mapped);
  allocations.erase(found);
}

inline Operation copying(void* to, const void* from, size_t size) {
  return [=] {
    memmove(to, from, size);
    counters.copies++;
    return CUDA_SUCCESS;
  };
}
template <class T>
inline Operation filling(CUdeviceptr at, T value, size_t count) {
  return [=] {
    for (size_t n = 0; n < count; n++) reinterpret_cast<T*>(at)[n] = value;
    return CUDA_SUCCESS;
  };
}

// A copy that the host waits for, on the legacy default stream.
inline CUresult copy_now(void* to, const void* from, size_t size) {
  return enqueue(nullptr, copying(to, from, size));
}

// Pageable memory is read before the call returns; pinned memory is read when the copy happens.
inline CUresult copy_from_host(CUdeviceptr to, const void* from, size_t size, CUstream stream) {
  if (is_pinned(from, size) || stream_of(stream)->capture) return enqueue(stream, copying(reinterpret_cast<void*>(to), from, size));
  auto kept = std::make_shared<std::string>(static_cast<const char*>(from), size);
  return enqueue(stream, [=] { return copying(reinterpret_cast<void*>(to), kept->data(), size)(); });
}
inline CUresult copy_to_host(void* to, CUdeviceptr from, size_t size, CUstream stream) {
  TRY(enqueue(stream, copying(to, reinterpret_cast<void*>(from), size)));
  if (is_pinned(to, size) || stream_of(stream)->capture) return CUDA_SUCCESS;
  return drain(stream_of(stream));
}
}  // namespace fake_cuda
