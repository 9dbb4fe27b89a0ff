/* layer_dense.c: dense layers and 2-D convolutions over images in height, width, channel order.
 *
 * A convolution is the dense kernel once per image row: its window is one segment per kernel row, read from the image in place. Its gradient by the
 * image is a convolution too: of the output's gradient, spread by the stride and padded, with the kernels turned by 180 degrees. */
#include <string.h>

#include "engine/mlp/net.h"

enum { PANEL = MMQ_DENSE_PANEL };

/* An image with its padding. */
struct image {
	size_t height, width, channels, top, left;
	size_t step[2];                  /* spread: pixels between two source pixels */
};

static const float *
pad_image(const struct image *to, const float *from, size_t from_height, size_t from_width, float *pad)
{
	size_t channels = to->channels;
	if (to->height == from_height && to->width == from_width)
		return from;
	memset(pad, 0, to->height * to->width * channels * sizeof(*pad));
	for (size_t y = 0; y < from_height; y++) {
		float *row = pad + ((to->top + y * to->step[0]) * to->width + to->left) * channels;
		for (size_t x = 0; to->step[1] > 1 && x < from_width; x++)
			memcpy(row + x * to->step[1] * channels, from + (y * from_width + x) * channels, channels * sizeof(*pad));
		if (to->step[1] == 1)
			memcpy(row, from + y * from_width * channels, from_width * channels * sizeof(*pad));
	}
	return pad;
}

/* The padded input of a convolution. */
static struct image
input_image(const struct mmq_mlp_layer *layer)
{
	struct image image = { .channels = layer->in[2], .top = layer->pad[0], .left = layer->pad[1], .step = { 1, 1 }, .height = layer->in[0],
		.width = layer->in[1] };
	if (layer->pad[0] + layer->pad[1] > 0 || (layer->out[0] - 1) * layer->stride[0] + layer->kernel[0] > layer->in[0] ||
	    (layer->out[1] - 1) * layer->stride[1] + layer->kernel[1] > layer->in[1]) {
		image.height = (layer->out[0] - 1) * layer->stride[0] + layer->kernel[0];
		image.width = (layer->out[1] - 1) * layer->stride[1] + layer->kernel[1];
		image.height = image.height < layer->in[0] + layer->pad[0] ? layer->in[0] + layer->pad[0] : image.height;
		image.width = image.width < layer->in[1] + layer->pad[1] ? layer->in[1] + layer->pad[1] : image.width;
	}
	return image;
}

/* The output's gradient, spread and padded so that a plain convolution over it gives the input's. */
static struct image
gradient_image(const struct mmq_mlp_layer *layer)
{
	return (struct image){ .channels = layer->out[2], .top = layer->kernel[0] - 1 - layer->pad[0], .left = layer->kernel[1] - 1 - layer->pad[1],
		.height = layer->in[0] + layer->kernel[0] - 1, .width = layer->in[1] + layer->kernel[1] - 1,
		.step = { layer->stride[0], layer->stride[1] } };
}

static struct mmq_dense
window(const struct mmq_mlp_layer *layer, const struct image *image, size_t out)
{
	return (struct mmq_dense){ .segments = layer->kernel[0], .segment = layer->kernel[1] * image->channels,
		.segment_stride = image->width * image->channels, .out = out };
}

void
mmq_mlp_dense_forward(const struct mmq_mlp_net *net, const struct mmq_mlp_layer *layer, const float *x, size_t x_stride, size_t rows, float *y,
    const struct mmq_mlp_pass *pass)
{
	const float *w = net->params + layer->w_at, *bias = net->params + layer->b_at;
	if (layer->kind == MMQ_MLP_DENSE) {
		struct mmq_dense shape = mmq_dense_plain(layer->rows, layer->cols);
		shape.relu = layer->activation == MMQ_MLP_RELU;
		mmq_dense_forward(&shape, y, layer->cols, x, x_stride, rows, w, bias);
		return;
	}
	struct image image = input_image(layer);
	struct mmq_dense shape = window(layer, &image, layer->cols);
	shape.relu = layer->activation == MMQ_MLP_RELU;
	for (size_t r = 0; r < rows; r++) {
		const float *in = pad_image(&image, x + r * x_stride, layer->in[0], layer->in[1], pass->pad);
		for (size_t i = 0; i < layer->out[0]; i++)
			mmq_dense_forward(&shape, y + r * layer->out_count + i * layer->out[1] * layer->cols, layer->cols,
			    in + i * layer->stride[0] * shape.segment_stride, layer->stride[1] * image.channels, layer->out[1], w, bias);
	}
}

void
mmq_mlp_dense_backward(const struct mmq_mlp_net *net, const struct mmq_mlp_layer *layer, const float *d, size_t rows, float *dx,
    const struct mmq_mlp_pass *pass)
{
	const float *w = net->back + layer->back_at;
	if (layer->kind == MMQ_MLP_DENSE) {
		const struct mmq_dense shape = mmq_dense_plain(layer->cols, layer->rows);
		mmq_dense_forward(&shape, dx, layer->rows, d, layer->cols, rows, w, NULL);
		return;
	}
	struct image image = gradient_image(layer);
	const struct mmq_dense shape = window(layer, &image, layer->in[2]);
	for (size_t r = 0; r < rows; r++) {
		const float *in = pad_image(&image, d + r * layer->out_count, layer->out[0], layer->out[1], pass->pad);
		for (size_t i = 0; i < layer->in[0]; i++)
			mmq_dense_forward(&shape, dx + r * layer->in_count + i * layer->in[1] * layer->in[2], layer->in[2], in + i * shape.segment_stride,
			    image.channels, layer->in[1], w, NULL);
	}
}

void
mmq_mlp_dense_gradient(const struct mmq_mlp_layer *layer, const float *x, size_t x_stride, const float *d, size_t rows, float *gradient, size_t from,
    size_t to, bool add, const struct mmq_mlp_pass *pass)
{
	size_t width = (to < layer->cols ? to : layer->cols) - from;
	bool is_dense = layer->kind == MMQ_MLP_DENSE;
	struct image image = is_dense ? (struct image){ 0 } : input_image(layer);
	struct mmq_dense shape = is_dense ? mmq_dense_plain(layer->rows, layer->cols) : window(layer, &image, layer->cols);
	for (size_t r = 0; r < (is_dense ? 1 : rows); r++, add = true) {
		struct mmq_dense_rows at = { .x = x, .d = d, .runs = 1, .run_rows = rows, .x_stride = x_stride, .d_stride = layer->cols };
		if (!is_dense)
			at = (struct mmq_dense_rows){ .x = pad_image(&image, x + r * x_stride, layer->in[0], layer->in[1], pass->pad),
				.d = d + r * layer->out_count, .runs = layer->out[0], .run_rows = layer->out[1], .x_stride = layer->stride[1] * image.channels,
				.x_run_stride = layer->stride[0] * shape.segment_stride, .d_stride = layer->cols,
				.d_run_stride = layer->out[1] * layer->cols };
		at.d += from;
		mmq_dense_gradient(&shape, gradient + from * layer->rows, &at, width, add);
	}
	/* The biases' gradient: a sum over rows and pixels. */
	float *sums = gradient + layer->b_at - layer->w_at;
	for (size_t i = 0; i < rows * (layer->out_count / layer->cols); i++)
		mmq_mlp_add_scaled(sums + from, d + i * layer->cols + from, 1.0f, width);
}

void
mmq_mlp_refresh(const struct mmq_mlp_net *net, const struct mmq_mlp_layer *layer, size_t from, size_t to)
{
	const float *w = net->params + layer->w_at;
	float *back = net->back + layer->back_at;
	if (layer->kind == MMQ_MLP_DENSE) {
		mmq_dense_transpose(back, w, layer->rows, layer->cols, from, to);
		return;
	}
	size_t channels = layer->in[2], pixels = layer->kernel[0] * layer->kernel[1], turned_rows = pixels * layer->cols;
	for (size_t o = from; o < to && o < layer->cols; o++)
		for (size_t k = 0; k < pixels; k++)
			for (size_t c = 0; c < channels; c++)
				back[c / PANEL * PANEL * turned_rows + ((pixels - 1 - k) * layer->cols + o) * PANEL + c % PANEL] =
				    w[o / PANEL * PANEL * layer->rows + (k * channels + c) * PANEL + o % PANEL];
}

void
mmq_mlp_refresh_all(const struct mmq_mlp_net *net)
{
	for (size_t k = 0; k < net->layers; k++)
		if (net->layer[k].kind <= MMQ_MLP_CONV)
			mmq_mlp_refresh(net, &net->layer[k], 0, net->layer[k].cols);
}
