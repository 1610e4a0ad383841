// Group normalisation with the scale, shift and SiLU behind it, and its gradient, of images that
// lie channels last: x is [n, pixels, c]. Numbers per channel may be added in front of it, as the
// bias of the convolution that made x: they move a channel's mean and nothing else.
// kernels/group_norm normalises on CPUs.
//
// Compiled at run time for the card (nvrtc.rs), with REAL defined as float or Bf16: the type of
// images and their gradients; everything else is float32 or float64. No kernel adds atomically:
// every sum has one order, whatever runs beside it, so that the same command gives the same images
// twice. emulator.cpp runs this file on a CPU.

struct Bf16 {
  unsigned short bits;
};

__device__ inline float to_float(float value) { return value; }
__device__ inline float to_float(Bf16 value) {
  return __uint_as_float(static_cast<unsigned>(value.bits) << 16);
}

__device__ inline void round_to(float value, float &out) { out = value; }

// To the nearest bf16 number, halves to the even one; NaN stays NaN.
__device__ inline void round_to(float value, Bf16 &out) {
  const unsigned bits = __float_as_uint(value);
  const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
  const unsigned nearest = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  out.bits = static_cast<unsigned short>(is_nan ? 0x7fffu : nearest);
}

// Channels that a thread takes at a time: one or two loads of 16 bytes. pass.rs knows it too.
constexpr int LANE = 8;

// The most threads of a block over pixels, which bounds the registers of a thread.
constexpr int MAX_THREADS = 512;

template <typename Value> struct alignas(16) Lane {
  Value at[LANE];
};

template <typename Value> __device__ inline Lane<Value> load(const Value *from) {
  return *reinterpret_cast<const Lane<Value> *>(from);
}

template <typename Value> __device__ inline void store(Value *to, const Lane<Value> &lane) {
  *reinterpret_cast<Lane<Value> *>(to) = lane;
}

// The fields are those of pass.rs, in its order.
struct Sizes {
  int n;
  int pixels;
  int c;
  int groups;
  // Pixels that one block takes, and how many such pieces an image has.
  int piece;
  int pieces;
  // Rows of scale and shift: n, or 1 that holds for all images.
  int scale_rows;
  // Rows of what is added to x: n, or 1 that holds for all images.
  int added_rows;
  int has_silu;
};

// Pixels of a piece; the last one may be short.
__device__ inline int pixels_in(const Sizes &s, int piece) {
  return min(s.piece, s.pixels - piece * s.piece);
}

// Where a thread stands in a launch over pixels: block (piece, image), thread (row, lane). It takes
// its lane's channels of every `rows`th pixel from `begin` on.
struct Place {
  int image, row, rows, channel, begin, end;
  // Index of the channel in the image's first pixel.
  long long origin;
};

__device__ inline Place place(const Sizes &s) {
  const int lanes = s.c / LANE;
  Place p;
  p.image = blockIdx.y;
  p.row = threadIdx.x / lanes;
  p.rows = blockDim.x / lanes;
  p.channel = threadIdx.x % lanes * LANE;
  p.begin = blockIdx.x * s.piece + p.row;
  p.end = blockIdx.x * s.piece + pixels_in(s, blockIdx.x);
  p.origin = static_cast<long long>(p.image) * s.pixels * s.c + p.channel;
  return p;
}

// Two numbers per piece and channel: [n, pieces, 2, c].
__device__ inline long long part_index(const Sizes &s, int image, int piece) {
  return (static_cast<long long>(image) * s.pieces + piece) * 2 * s.c;
}

// Numbers per image and channel, [4, n, c]. The layer is
// SiLU((x - mean) * rstd * gain + offset), the mean being less what is added to x.
enum Line { MEAN, RSTD, GAIN, OFFSET };

__device__ inline long long line_index(const Sizes &s, int line, int image, int channel) {
  return (static_cast<long long>(line) * s.n + image) * s.c + channel;
}

// The numbers of a thread's channels.
struct Layer {
  Lane<float> mean, rstd, gain, offset;
};

__device__ inline Layer load_layer(const float *lines, const Sizes &s, const Place &p) {
  Layer layer;
  layer.mean = load(lines + line_index(s, MEAN, p.image, p.channel));
  layer.rstd = load(lines + line_index(s, RSTD, p.image, p.channel));
  layer.gain = load(lines + line_index(s, GAIN, p.image, p.channel));
  layer.offset = load(lines + line_index(s, OFFSET, p.image, p.channel));
  return layer;
}

__device__ inline float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

// Writes two numbers of a thread's channels into a block's memory, [2, rows, c].
__device__ inline void share(float *shared, const Sizes &s, const Place &p,
                             const float (&first)[LANE], const float (&second)[LANE]) {
  for (int i = 0; i < LANE; i++) {
    shared[p.row * s.c + p.channel + i] = first[i];
    shared[(p.rows + p.row) * s.c + p.channel + i] = second[i];
  }
  __syncthreads();
}

// Mean of each channel over a piece, relative to the image's first pixel, and the sum of squared
// distances to it. Welford's method: neither a large mean nor a first pixel that stands out costs
// digits. Launched over pixels; parts [n, pieces, 2, c].
extern "C" __global__ void __launch_bounds__(MAX_THREADS)
    moments(const REAL *x, float *parts, Sizes s) {
  extern __shared__ float shared[];
  const Place p = place(s);
  const Lane<REAL> first = load(x + p.origin);
  float mean[LANE] = {}, squares[LANE] = {};
  int count = 0;
  for (int pixel = p.begin; pixel < p.end; pixel += p.rows) {
    const Lane<REAL> value = load(x + p.origin + static_cast<long long>(pixel) * s.c);
    const float portion = 1.0f / static_cast<float>(++count);
    for (int i = 0; i < LANE; i++) {
      const float relative = to_float(value.at[i]) - to_float(first.at[i]);
      const float distance = relative - mean[i];
      mean[i] = fmaf(distance, portion, mean[i]);
      squares[i] = fmaf(distance, relative - mean[i], squares[i]);
    }
  }
  share(shared, s, p, mean, squares);
  float *part = parts + part_index(s, p.image, blockIdx.x);
  const int pixels = pixels_in(s, blockIdx.x);
  for (int channel = threadIdx.x; channel < s.c; channel += blockDim.x) {
    const float *means = shared + channel, *sums = means + p.rows * s.c;
    float whole = 0;
    for (int row = 0; row < min(p.rows, pixels); row++) {
      const int own = (pixels - row + p.rows - 1) / p.rows;
      whole = fmaf(means[row * s.c], static_cast<float>(own), whole);
    }
    whole /= static_cast<float>(pixels);
    float total = 0;
    for (int row = 0; row < min(p.rows, pixels); row++) {
      const int own = (pixels - row + p.rows - 1) / p.rows;
      const float distance = means[row * s.c] - whole;
      total += fmaf(distance * distance, static_cast<float>(own), sums[row * s.c]);
    }
    part[channel] = whole;
    part[s.c + channel] = total;
  }
}

// The mean over a group of a number per channel, each thread for itself and in the same order.
__device__ inline double group_mean(const double *numbers, int width) {
  double sum = 0;
  for (int k = 0; k < width; k++) sum += numbers[k];
  return sum / width;
}

// Channel k of an image's first pixel with what is added to it.
__device__ inline double first_value(const REAL *first, const float *added, int k) {
  const double value = to_float(first[k]);
  return added == nullptr ? value : value + added[k];
}

// From the moments to the lines. Block (group, image), which holds two float64 numbers per channel
// of the group. added is [added_rows, c] or null, weight and bias are [c], scale_shift is
// [scale_rows, 2, c] or null.
extern "C" __global__ void group_lines(const REAL *x, const float *parts, const float *added,
                                       const float *weight, const float *bias,
                                       const float *scale_shift, float *lines, float eps,
                                       Sizes s) {
  extern __shared__ double group_numbers[];
  const int width = s.c / s.groups, begin = blockIdx.x * width, image = blockIdx.y;
  double *means = group_numbers, *variances = group_numbers + width;
  const REAL *first = x + static_cast<long long>(image) * s.pixels * s.c + begin;
  if (added != nullptr) added += (s.added_rows == 1 ? 0 : image) * s.c + begin;
  for (int k = threadIdx.x; k < width; k += blockDim.x) {
    double sum = 0;
    for (int piece = 0; piece < s.pieces; piece++) {
      const double mean = parts[part_index(s, image, piece) + begin + k];
      sum += mean * pixels_in(s, piece);
    }
    means[k] = first_value(first, added, k) + sum / s.pixels;
  }
  __syncthreads();
  const double mean = group_mean(means, width);
  for (int k = threadIdx.x; k < width; k += blockDim.x) {
    const double relative = mean - first_value(first, added, k);
    double sum = 0;
    for (int piece = 0; piece < s.pieces; piece++) {
      const float *part = parts + part_index(s, image, piece) + begin + k;
      const double distance = part[0] - relative;
      sum += part[s.c] + distance * distance * pixels_in(s, piece);
    }
    variances[k] = sum / s.pixels;
  }
  __syncthreads();
  const float rstd = static_cast<float>(1.0 / sqrt(group_mean(variances, width) + eps));
  for (int k = threadIdx.x; k < width; k += blockDim.x) {
    const int channel = begin + k;
    float gain = weight[channel], offset = bias[channel];
    if (scale_shift != nullptr) {
      const float *row = scale_shift + (s.scale_rows == 1 ? 0 : image) * 2 * s.c;
      const float scale = 1.0f + row[channel];
      gain *= scale;
      offset = fmaf(offset, scale, row[s.c + channel]);
    }
    const double own_mean = added == nullptr ? mean : mean - added[k];
    lines[line_index(s, MEAN, image, channel)] = static_cast<float>(own_mean);
    lines[line_index(s, RSTD, image, channel)] = rstd;
    lines[line_index(s, GAIN, image, channel)] = gain;
    lines[line_index(s, OFFSET, image, channel)] = offset;
  }
}

// The layer's output. Launched over pixels.
extern "C" __global__ void __launch_bounds__(MAX_THREADS)
    apply(const REAL *x, const float *lines, REAL *out, Sizes s) {
  const Place p = place(s);
  const Layer layer = load_layer(lines, s, p);
  for (int pixel = p.begin; pixel < p.end; pixel += p.rows) {
    const long long index = p.origin + static_cast<long long>(pixel) * s.c;
    const Lane<REAL> value = load(x + index);
    Lane<REAL> result;
    for (int i = 0; i < LANE; i++) {
      const float z = (to_float(value.at[i]) - layer.mean.at[i]) * layer.rstd.at[i];
      const float y = fmaf(z, layer.gain.at[i], layer.offset.at[i]);
      round_to(s.has_silu ? y * sigmoid(y) : y, result.at[i]);
    }
    store(out + index, result);
  }
}

// The gradient with respect to the normalised value z of channel i, from that with respect to the
// output.
__device__ inline float through_activation(float z, float gradient, const Layer &layer, int i,
                                           bool has_silu) {
  const float gain = layer.gain.at[i];
  if (!has_silu) return gradient * gain;
  const float y = fmaf(z, gain, layer.offset.at[i]), s = sigmoid(y);
  return gradient * gain * (s * fmaf(y, 1.0f - s, 1.0f));
}

// Sums over a piece, per channel, of the gradient d with respect to z, and of d * z. Launched over
// pixels; parts [n, pieces, 2, c].
extern "C" __global__ void __launch_bounds__(MAX_THREADS)
    gradient_sums(const REAL *x, const REAL *gradient, const float *lines, float *parts, Sizes s) {
  extern __shared__ float shared[];
  const Place p = place(s);
  const Layer layer = load_layer(lines, s, p);
  float sum_d[LANE] = {}, sum_dz[LANE] = {};
  for (int pixel = p.begin; pixel < p.end; pixel += p.rows) {
    const long long index = p.origin + static_cast<long long>(pixel) * s.c;
    const Lane<REAL> value = load(x + index), given = load(gradient + index);
    for (int i = 0; i < LANE; i++) {
      const float z = (to_float(value.at[i]) - layer.mean.at[i]) * layer.rstd.at[i];
      const float d = through_activation(z, to_float(given.at[i]), layer, i, s.has_silu);
      sum_d[i] += d;
      sum_dz[i] = fmaf(d, z, sum_dz[i]);
    }
  }
  share(shared, s, p, sum_d, sum_dz);
  float *part = parts + part_index(s, p.image, blockIdx.x);
  for (int at = threadIdx.x; at < 2 * s.c; at += blockDim.x) {
    const float *sums = shared + at / s.c * p.rows * s.c + at % s.c;
    float sum = 0;
    for (int row = 0; row < p.rows; row++) sum += sums[row * s.c];
    part[at] = sum;
  }
}

// From those sums to the means of d and d * z over each group, for every channel of it: [2, n, c].
// Block (group, image), which holds two float64 numbers per channel of the group.
extern "C" __global__ void gradient_means(const float *parts, float *means, Sizes s) {
  extern __shared__ double group_numbers[];
  const int width = s.c / s.groups, begin = blockIdx.x * width, image = blockIdx.y;
  for (int at = threadIdx.x; at < 2 * width; at += blockDim.x) {
    const int channel = begin + at % width;
    double sum = 0;
    for (int piece = 0; piece < s.pieces; piece++)
      sum += parts[part_index(s, image, piece) + at / width * s.c + channel];
    group_numbers[at] = sum / s.pixels;
  }
  __syncthreads();
  for (int at = threadIdx.x; at < 2 * width; at += blockDim.x) {
    const int which = at / width;
    const double mean = group_mean(group_numbers + which * width, width);
    means[line_index(s, which, image, begin + at % width)] = static_cast<float>(mean);
  }
}

// The gradient with respect to x: rstd * (d - mean(d) - z * mean(d * z)), the means being over the
// group. Launched over pixels.
extern "C" __global__ void __launch_bounds__(MAX_THREADS)
    gradient_of_input(const REAL *x, const REAL *gradient, const float *lines, const float *means,
                      REAL *out, Sizes s) {
  const Place p = place(s);
  const Layer layer = load_layer(lines, s, p);
  const Lane<float> mean_d = load(means + line_index(s, 0, p.image, p.channel));
  const Lane<float> mean_dz = load(means + line_index(s, 1, p.image, p.channel));
  for (int pixel = p.begin; pixel < p.end; pixel += p.rows) {
    const long long index = p.origin + static_cast<long long>(pixel) * s.c;
    const Lane<REAL> value = load(x + index), given = load(gradient + index);
    Lane<REAL> result;
    for (int i = 0; i < LANE; i++) {
      const float z = (to_float(value.at[i]) - layer.mean.at[i]) * layer.rstd.at[i];
      const float d = through_activation(z, to_float(given.at[i]), layer, i, s.has_silu);
      round_to(layer.rstd.at[i] * (d - mean_d.at[i] - z * mean_dz.at[i]), result.at[i]);
    }
    store(out + index, result);
  }
}
