// What the fake driver shares: with the libraries of kernels the layout of a launch, with tests its counters.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include <functional>

namespace fake_cuda {
struct Launch {  // cuda_host::Launch
  unsigned grid[3], block[3];
  int order;
  const char* packed;
  char* error;
  size_t error_size;
  uintptr_t fault_address, fault_code;
};
using Entry = int (*)(Launch*);
}  // namespace fake_cuda

// `device.Counters` in Python. leaked_allocations: live when the primary context was given up.
struct FakeCudaCounters {
  long live_allocations, live_bytes, peak_bytes, live_pinned, live_streams, live_events, live_graphs, modules;
  long launches, graph_launches, graph_nodes, copies, products, leaked_allocations;
};
