// The part of CUDA's driver that driver.rs calls, of one GPU which is this processor: it runs the
// kernels of group_norm.cu. Only tests compile it, with REAL as in nvrtc.rs.
//
// The threads of a block take turns: each runs until it waits for the others. In which order they
// take turns must not matter.
#include <cmath>
#include <cstring>
#include <functional>
#include <ucontext.h>
#include <utility>
#include <vector>

struct Index {
  unsigned x, y, z;
};
static Index threadIdx, blockIdx, blockDim, gridDim;
// On a GPU both are the memory of a block.
static float shared[12 * 1024];
static double group_numbers[6 * 1024];

static ucontext_t turns;
static ucontext_t *running;
static void wait_for_others() { swapcontext(running, &turns); }

#define __global__
#define __device__
#define __shared__
#define __launch_bounds__(threads)
#define __syncthreads wait_for_others
static inline int min(int a, int b) { return a < b ? a : b; }
static inline float __uint_as_float(unsigned bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}
static inline unsigned __float_as_uint(float value) {
  unsigned bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

#include "group_norm.cu"

using Work = std::function<void()>;
static const Work *work;

struct Thread {
  ucontext_t context;
  std::vector<char> stack = std::vector<char>(64 * 1024);
  bool ended;
};
static Thread *current;

static void run_thread() {
  (*work)();
  current->ended = true;
}

// Whether the last thread of a block has the first turn.
static bool backwards = false;

static void run_block(std::vector<Thread> &threads) {
  for (auto &thread : threads) {
    getcontext(&thread.context);
    thread.context.uc_stack.ss_sp = thread.stack.data();
    thread.context.uc_stack.ss_size = thread.stack.size();
    thread.context.uc_link = &turns;
    thread.ended = false;
    makecontext(&thread.context, run_thread, 0);
  }
  bool any = true;
  while (any) {
    any = false;
    for (unsigned turn = 0; turn < threads.size(); turn++) {
      const unsigned own = backwards ? threads.size() - 1 - turn : turn;
      current = &threads[own];
      if (current->ended) continue;
      any = true;
      threadIdx = {own, 0, 0};
      running = &current->context;
      swapcontext(&turns, running);
    }
  }
}

// A kernel as it is launched: with the addresses of its arguments.
using Kernel = Work (*)(void **);

template <auto kernel, typename... A, size_t... I>
static Work bound(void **arguments, void (*)(A...), std::index_sequence<I...>) {
  return [=] { kernel(*static_cast<A *>(arguments[I])...); };
}

template <auto kernel, typename... A> static Work bind(void **arguments, void (*type)(A...)) {
  return bound<kernel>(arguments, type, std::index_sequence_for<A...>());
}

template <auto kernel> static Work bind_kernel(void **arguments) {
  return bind<kernel>(arguments, kernel);
}

static const std::pair<const char *, Kernel> KERNELS[] = {
    {"moments", bind_kernel<moments>},
    {"group_lines", bind_kernel<group_lines>},
    {"apply", bind_kernel<apply>},
    {"gradient_sums", bind_kernel<gradient_sums>},
    {"gradient_means", bind_kernel<gradient_means>},
    {"gradient_of_input", bind_kernel<gradient_of_input>},
};

// How many launches succeed before all fail; fewer than none: all succeed.
static int launches_left = -1;
static int launches = 0;

extern "C" {

void emulator_fail_after(int count) { launches_left = count; }
int emulator_launches() { return launches; }
void emulator_take_turns_backwards(int on) { backwards = on; }

int cuInit(unsigned) { return 0; }
int cuDeviceGet(int *device, int index) {
  *device = index;
  return index == 0 ? 0 : 101;
}
int cuDevicePrimaryCtxRetain(void **context, int) {
  *context = &turns;
  return 0;
}
int cuCtxPushCurrent_v2(void *context) { return context == &turns ? 0 : 201; }
int cuCtxPopCurrent_v2(void **context) {
  *context = &turns;
  return 0;
}
int cuModuleLoadData(void **module, const void *image) {
  *module = &turns;
  return memcmp(image, "emulated", 8) == 0 ? 0 : 200;
}
int cuModuleGetFunction(void **function, void *, const char *name) {
  for (const auto &kernel : KERNELS)
    if (strcmp(kernel.first, name) == 0) {
      *function = reinterpret_cast<void *>(kernel.second);
      return 0;
    }
  return 500;
}
int cuLaunchKernel(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                   unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                   void *, void **arguments, void **) {
  const bool too_large = block_x * block_y * block_z > MAX_THREADS || shared_bytes > sizeof shared ||
                         shared_bytes > sizeof group_numbers || block_y * block_z * grid_z != 1;
  if (too_large || launches_left == 0) return 1;
  if (launches_left > 0) launches_left--;
  launches++;
  gridDim = {grid_x, grid_y, 1};
  blockDim = {block_x, 1, 1};
  const Work bound_work = reinterpret_cast<Kernel>(function)(arguments);
  work = &bound_work;
  std::vector<Thread> threads(block_x);
  for (unsigned y = 0; y < grid_y; y++)
    for (unsigned x = 0; x < grid_x; x++) {
      blockIdx = {x, y, 0};
      // What a block finds in its memory is not known.
      memset(shared, 0xff, sizeof shared);
      memset(group_numbers, 0xff, sizeof group_numbers);
      run_block(threads);
    }
  return 0;
}
}
