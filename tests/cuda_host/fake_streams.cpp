// The fake driver's streams, events, captures, graphs, modules and launches. See fake_driver.cpp.
#include <dlfcn.h>
#include <elf.h>
#include <stdio.h>

#include "fake_machine.h"

using namespace fake_cuda;

// Streams and events ----------------------------------------------------------------------------------------------------------------------

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
  return stream->context->fault;  // kept: an event may still name it
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
  auto* made = new Event{current.back()};
  made->timed = !(flags & CU_EVENT_DISABLE_TIMING);
  *event = reinterpret_cast<CUevent>(made);
  counters.live_events++;
  return CUDA_SUCCESS;
}
API cuEventDestroy_v2(CUevent handle) {  // kept: a queue may still name it
  LOCK;
  counters.live_events--;
  return reinterpret_cast<Event*>(handle)->context->fault;
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
// External: a node of the capture, which every replay passes.
API cuEventRecordWithFlags(CUevent handle, CUstream stream_handle, unsigned flags) {
  if (flags != CU_EVENT_RECORD_EXTERNAL) return cuEventRecord(handle, stream_handle);
  IN_CONTEXT;
  auto* event = reinterpret_cast<Event*>(handle);
  event->stream = stream_of(stream_handle);
  if (!event->stream->capture) return CUDA_ERROR_INVALID_VALUE;
  return enqueue(stream_handle, [=] { return event->milliseconds = now(), CUDA_SUCCESS; });
}
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
#undef cuEventElapsedTime
API cuEventElapsedTime(float* milliseconds, CUevent from, CUevent to) { return cuEventElapsedTime_v2(milliseconds, from, to); }

// Captures and graphs ---------------------------------------------------------------------------------------------------------------------

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
  if (capture->mode == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL && capture->thread != this_thread())
    return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
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

// Modules and launches --------------------------------------------------------------------------------------------------------------------

namespace {
CUresult run_kernel(Context* context, const Function* function, const unsigned* shape, const std::string& parameters) {
  char error[512] = "";
  Launch launch{{shape[0], shape[1], shape[2]}, {shape[3], shape[4], shape[5]}, order, parameters.data(), error, sizeof error, 0, 0};
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
}  // namespace

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
  if (!gx || !gy || !gz || !bx || !by || !bz) return CUDA_ERROR_INVALID_VALUE;
  if (gx > 0x7fffffff || gy > 65535 || gz > 65535 || bz > 64 || bx * by * bz > 1024 || dynamic_shared) return CUDA_ERROR_INVALID_VALUE;
  const size_t size = function->pack(nullptr, nullptr);
  std::string packed(size, '\0');
  if (parameters) function->pack(parameters, packed.data());
  for (void** item = extra; item && *item != CU_LAUNCH_PARAM_END; item += 2)
    if (*item == CU_LAUNCH_PARAM_BUFFER_POINTER) packed.assign(static_cast<const char*>(item[1]), size);
    else if (*item == CU_LAUNCH_PARAM_BUFFER_SIZE && *static_cast<size_t*>(item[1]) != size) return CUDA_ERROR_INVALID_VALUE;
  Context* context = stream_of(stream)->context;
  return enqueue(stream, [=, shape = std::vector{gx, gy, gz, bx, by, bz}] { return run_kernel(context, function, shape.data(), packed); });
}
