// Runs the blocks of a kernel one after the other, each CUDA thread a fiber, and says what goes wrong: threads that wait for one another at
// different barriers, accesses to memory that is not there, misaligned accesses and indices outside an array (from the hooks of
// -fsanitize=alignment,bounds).
//
// A fiber runs threads one after the other until one waits; the others go on in the next fiber. So a kernel that never waits runs in a
// plain loop, and one that does has a stack for each waiting thread. A warp goes on as far as it can, to a barrier of the block or to its
// end, before the next one moves: warps that nothing holds together are as far apart as can be.
#include "cuda_host.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <mutex>

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace cuda_host {
// One for all libraries of a process, which may load hundreds: an inline variable that is not hidden (STB_GNU_UNIQUE to the linker). A
// process has 65530 mappings, and stacks with their guards are 2048 of them.
struct Shared {
  std::mutex one_at_a_time;
  char* stacks;
};
__attribute__((visibility("default"))) inline Shared shared;

namespace {
constexpr int WARP = 32, MOST_THREADS = WARP * WARP;
constexpr size_t STACK_BYTES = 128 << 10;
enum class State { fresh, ready, waiting, done };

struct Thread {
  State state;
  int fiber;
  Exchange* exchange;  // while it waits
  Site site;
};
Thread threads[MOST_THREADS];
int warp_order[WARP], lane_order[WARP];  // in which warps run, and the threads of each; numbers beyond those that there are are passed over
int thread_count, current, next_lane, fibers_used;
bool fiber_ended;
const Kernel* kernel;
Launch* request;
void** arguments;
bool failed, running;
pthread_t runner;
uint64_t random_state;

// Fibers ----------------------------------------------------------------------------------------------------------------------------------

void fiber_main();

#if defined(__x86_64__)
// Registers that a call keeps are pushed on the stack that is left, and popped from the one that is entered.
extern "C" void cuda_host_switch(void** save, void* next) CUDA_HOST_HIDDEN;
asm(R"(
.text
.globl cuda_host_switch
.hidden cuda_host_switch
.type cuda_host_switch, @function
cuda_host_switch:
    push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp
    ret
.size cuda_host_switch, . - cuda_host_switch
)");
void* fibers[MOST_THREADS];
void* scheduler;

void make_fiber(int number, char* top) {
  auto** stack = reinterpret_cast<void**>(top);
  *--stack = nullptr;  // as if called: the stack is 16-byte aligned before the return address
  *--stack = reinterpret_cast<void*>(&fiber_main);
  fibers[number] = stack - 6;
}
void enter(int number) { cuda_host_switch(&scheduler, fibers[number]); }
void leave(int number) { cuda_host_switch(&fibers[number], scheduler); }
#else
ucontext_t fibers[MOST_THREADS], scheduler;

void make_fiber(int number, char* top) {
  getcontext(&fibers[number]);
  fibers[number].uc_stack = {top - STACK_BYTES, 0, STACK_BYTES};
  makecontext(&fibers[number], fiber_main, 0);
}
void enter(int number) { swapcontext(&scheduler, &fibers[number]); }
void leave(int number) { swapcontext(&fibers[number], &scheduler); }
#endif

void step_into(int thread) {
  current = thread;
  threadIdx = {thread % blockDim.x, thread / blockDim.x % blockDim.y, thread / (blockDim.x * blockDim.y)};
}

// Runs the threads of the warp that begins with `current` which have not begun. A thread that waits leaves from inside `kernel->run`.
void fiber_main() {
  const int own = fibers_used - 1, first = current;
  while (next_lane < WARP) {
    const int thread = first + lane_order[next_lane++];
    if (thread >= thread_count) continue;
    step_into(thread);
    threads[current].fiber = own;
    kernel->run(arguments);
    threads[current].state = State::done;
  }
  fiber_ended = true;
  leave(own);
  __builtin_unreachable();
}

void allocate_stacks() {
  constexpr size_t size = MOST_THREADS * STACK_BYTES;
  shared.stacks = static_cast<char*>(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  for (int n = 0; n < MOST_THREADS; n++) mprotect(shared.stacks + n * STACK_BYTES, 4096, PROT_NONE);  // a stack that overflows is a fault
}

// Errors ----------------------------------------------------------------------------------------------------------------------------------

const char* base_name(const char* path) {
  const char* slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

template <class... A>
void report(const char* format, A... args) {
  if (failed) return;
  failed = true;
  int n = snprintf(request->error, request->error_size, "kernel %s, block (%u,%u,%u), ", kernel->name, blockIdx.x, blockIdx.y, blockIdx.z);
  snprintf(request->error + n, request->error_size - n, format, args...);
}

// Ends the launch from inside a fiber: the scheduler looks at `failed` whenever it is entered.
[[noreturn]] void abandon() {
  leave(threads[current].fiber);
  __builtin_unreachable();
}

void report_thread(const char* what, const char* file, unsigned line) {
  report("thread (%u,%u,%u): %s, at %s:%u", threadIdx.x, threadIdx.y, threadIdx.z, what, base_name(file), line);
}

struct sigaction previous[5];
constexpr int SIGNALS[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};

void on_signal(int number, siginfo_t* info, void* context) {
  if (!running || !pthread_equal(pthread_self(), runner)) {  // not of the kernel: as if there were no handler here
    for (int n = 0; n < 5; n++) sigaction(SIGNALS[n], &previous[n], nullptr);
    return;
  }
#if defined(__x86_64__)
  auto code = uintptr_t(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
#else
  uintptr_t code = 0;
#endif
  Dl_info library;
  request->fault_code = code && dladdr(reinterpret_cast<void*>(&on_signal), &library) ? code - uintptr_t(library.dli_fbase) : 0;
  const bool memory = number == SIGSEGV || number == SIGBUS;
  const char* what = memory ? "illegal memory access" : number == SIGFPE ? "integer division by zero" : "trap";
  if (memory) request->fault_address = uintptr_t(info->si_addr);
  report("thread (%u,%u,%u): %s", threadIdx.x, threadIdx.y, threadIdx.z, what);
  abandon();
}

// Holds while a kernel runs: signals that it raises come to `on_signal`, on a stack of their own.
struct Signals {
  stack_t before;
  Signals() {
    static char own_stack[64 << 10];
    stack_t stack{own_stack, 0, sizeof own_stack};
    sigaltstack(&stack, &before);
    struct sigaction action {};
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    for (int n = 0; n < 5; n++) sigaction(SIGNALS[n], &action, &previous[n]);
    runner = pthread_self();
    running = true;
  }
  ~Signals() {
    running = false;
    for (int n = 0; n < 5; n++) sigaction(SIGNALS[n], &previous[n], nullptr);
    sigaltstack(&before, nullptr);
  }
};

// The scheduler ---------------------------------------------------------------------------------------------------------------------------

bool same_place(const Thread& a, const Thread& b) {
  return a.site.line() == b.site.line() && a.site.column() == b.site.column() && a.exchange->ask == b.exchange->ask &&
         a.exchange->mask == b.exchange->mask;
}

const char* name_of(const Exchange& exchange) {
  switch (exchange.ask) {
    case Ask::block: return "__syncthreads";
    case Ask::warp: return "__syncwarp";
    case Ask::value: return "a shuffle";
    default: return "a vote";
  }
}

void describe(char* text, size_t size, int number) {
  const Thread& thread = threads[number];
  if (thread.state == State::done) {
    snprintf(text, size, "thread %d has finished", number);
    return;
  }
  char mask[24] = "";
  if (thread.exchange->ask != Ask::block) snprintf(mask, sizeof mask, " of mask %08x", thread.exchange->mask);
  snprintf(text, size, "thread %d waits at %s%s, %s:%u", number, name_of(*thread.exchange), mask, base_name(thread.site.file_name()),
           thread.site.line());
}

void report_divergence(int one, int other) {
  char first[160], second[160];
  describe(first, sizeof first, one);
  describe(second, sizeof second, other);
  report("divergent barrier: %s; %s", first, second);
}

// Answers the threads of one warp that wait for `mask`, all at the same place.
void answer(int warp_start, unsigned mask) {
  uint64_t ballot = 0;
  for (int lane = 0; lane < WARP; lane++)
    if (mask >> lane & 1) ballot |= uint64_t(threads[warp_start + lane].exchange->offered & 1) << lane;
  for (int lane = 0; lane < WARP; lane++) {
    if (!(mask >> lane & 1)) continue;
    Thread& thread = threads[warp_start + lane];
    thread.state = State::ready;
    if (thread.exchange->ask == Ask::ballot) thread.exchange->answer = ballot;
    if (thread.exchange->ask != Ask::value) continue;
    const int source = thread.exchange->source;
    if (source >= WARP || !(mask >> source & 1)) {
      report("thread %d: a shuffle asks lane %d, which mask %08x leaves out, at %s:%u", warp_start + lane, source, mask,
             base_name(thread.site.file_name()), thread.site.line());
      return;
    }
    thread.exchange->answer = threads[warp_start + source].exchange->offered;
  }
}

// Lets go on every group of threads of the warp that is complete. A lane that the mask names and that is not in the block counts as absent.
bool release_groups(int start) {
  bool released = false;
  const int lanes = thread_count - start < WARP ? thread_count - start : WARP;
  const unsigned present = lanes == WARP ? ~0u : (1u << lanes) - 1;
  for (int lane = 0; lane < lanes; lane++) {
    const Thread& thread = threads[start + lane];
    if (thread.state != State::waiting || thread.exchange->ask == Ask::block) continue;
    const unsigned mask = thread.exchange->mask & present;
    bool complete = true;
    for (int other = 0; other < lanes && complete; other++)
      if (mask >> other & 1) complete = threads[start + other].state == State::waiting && same_place(thread, threads[start + other]);
    if (complete) {
      answer(start, mask);
      released = true;
    }
  }
  return released;
}

// All threads wait and no group of a warp is complete: they stand at one barrier of the block, or wait for ever.
void release_block() {
  for (int n = 1; n < thread_count; n++)
    if (threads[n].state != threads[0].state || !same_place(threads[0], threads[n])) return report_divergence(0, n);
  if (threads[0].exchange->ask != Ask::block) return report_divergence(0, 0);
  for (int n = 0; n < thread_count; n++) threads[n].state = State::ready;
}

void arrange(int* order) {
  for (int n = 0; n < WARP; n++) order[n] = request->order == 1 ? WARP - 1 - n : n;
  if (request->order != 2) return;
  for (int n = WARP - 1; n > 0; n--) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    std::swap(order[n], order[(random_state >> 33) % (n + 1)]);
  }
}

void begin_warp(int start) {
  next_lane = 0;
  while (next_lane < WARP && !failed) {
    current = start;
    fiber_ended = false;
    make_fiber(fibers_used, shared.stacks + (fibers_used + 1) * STACK_BYTES);
    enter(fibers_used++);
    if (fiber_ended) fibers_used--;  // nobody waits in it
  }
}

// Runs a warp until all its threads are done or wait for others of the block.
void run_warp(int start) {
  arrange(lane_order);
  if (threads[start].state == State::fresh) begin_warp(start);
  do {
    for (int n = 0; n < WARP && !failed; n++) {
      const int thread = start + lane_order[n];
      if (thread >= thread_count || threads[thread].state != State::ready) continue;
      step_into(thread);
      enter(threads[thread].fiber);
    }
  } while (!failed && release_groups(start));
}

void run_block() {
  if (kernel->shared) memset(kernel->shared, 0xff, kernel->shared_end - kernel->shared);
  for (int n = 0; n < thread_count; n++) threads[n].state = State::fresh;
  fibers_used = 0;
  while (!failed) {
    arrange(warp_order);
    for (int n = 0; n < WARP && !failed; n++)
      if (warp_order[n] * WARP < thread_count) run_warp(warp_order[n] * WARP);
    bool done = true;
    for (int n = 0; n < thread_count; n++) done &= threads[n].state == State::done;
    if (done) return;
    if (!failed) release_block();
  }
}
}  // namespace

// What kernels call -----------------------------------------------------------------------------------------------------------------------

int lane() { return current & 31; }

void wait(Exchange& exchange, Site site) {
  if (exchange.ask != Ask::block && !(exchange.mask >> lane() & 1)) fail("calls a warp operation whose mask leaves it out", site);
  Thread& thread = threads[current];
  thread.state = State::waiting;
  thread.exchange = &exchange;
  thread.site = site;
  leave(thread.fiber);
}

void fail(const char* what, Site site) {
  report_thread(what, site.file_name(), site.line());
  abandon();
}

int launch(const Kernel& which, const void* const* parameters, Launch& what) {
  const std::lock_guard lock(shared.one_at_a_time);
  kernel = &which;
  request = &what;
  arguments = const_cast<void**>(parameters);
  failed = false;
  random_state = 1;
  what.error[0] = 0;
  what.fault_address = what.fault_code = 0;
  gridDim = {what.grid[0], what.grid[1], what.grid[2]};
  blockDim = {what.block[0], what.block[1], what.block[2]};
  blockIdx = {0, 0, 0};
  const uint64_t count = uint64_t(blockDim.x) * blockDim.y * blockDim.z, blocks = uint64_t(gridDim.x) * gridDim.y * gridDim.z;
  if (!count || count > MOST_THREADS || !blocks || gridDim.x > 0x7fffffff || gridDim.y > 65535 || gridDim.z > 65535 || blockDim.z > 64) {
    report("invalid launch: grid (%u,%u,%u), block (%u,%u,%u)", gridDim.x, gridDim.y, gridDim.z, blockDim.x, blockDim.y, blockDim.z);
    return 1;
  }
  if (!shared.stacks) allocate_stacks();
  thread_count = int(count);
  const Signals signals;
  for (uint64_t n = 0; n < blocks && !failed; n++) {
    const uint64_t block = what.order == 1 ? blocks - 1 - n : n;
    blockIdx = {unsigned(block % gridDim.x), unsigned(block / gridDim.x % gridDim.y), unsigned(block / gridDim.x / gridDim.y)};
    run_block();
  }
  return failed;
}
}  // namespace cuda_host

// Hooks of -fsanitize=alignment,bounds: the compiler calls them with a description that begins with the place in the text ----------------

namespace {
struct Place {
  const char* file;
  unsigned line, column;
};
}  // namespace
#define HOOK extern "C" CUDA_HOST_HIDDEN void
HOOK __ubsan_handle_type_mismatch_v1(const Place* place, uintptr_t address) {
  cuda_host::report_thread(address ? "misaligned access" : "access through a null pointer", place->file, place->line);
  cuda_host::abandon();
}
HOOK __ubsan_handle_out_of_bounds(const Place* place, uintptr_t index) {
  char what[80];
  snprintf(what, sizeof what, "index %ld outside of an array", long(index));
  cuda_host::report_thread(what, place->file, place->line);
  cuda_host::abandon();
}
