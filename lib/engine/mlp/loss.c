/* loss.c: losses of the output layer and their derivatives, sums in double.
 *
 * cross_entropy with softmax or logistic outputs, and with both delta = p - target. mse is half the squared error summed over
 * the outputs, through whichever output activation (the textbook's E = 1/2 sum (y - t)^2, averaged over rows later); mae and huber likewise.
 * The logarithms of many rows are taken as one, of a product. */
#include <math.h>

#include "engine/mlp/net.h"
#include "math/exp.h"

/* Output k's target: 0/1 per class, or the value itself. One logistic output means class 1. */
static double
target_of(const struct mmq_dataset *data, size_t row, size_t width, size_t k)
{
	return data->classes == 0 || width == 1 ? data->y[row] : data->y[row] == (double)k ? 1.0 : 0.0;
}

/* p (width) = softmax(z); returns log of the sum of exp(z). */
static double
softmax_row(float *p, const float *z, size_t width)
{
	float top = z[0];
	double sum = 0.0;
	for (size_t k = 1; k < width; k++)
		top = z[k] > top ? z[k] : top;
	for (size_t k = 0; k < width; k++)
		p[k] = z[k] - top;
	mmq_exp_f32(p, p, width);
	for (size_t k = 0; k < width; k++)
		sum += (double)p[k];
	for (size_t k = 0; k < width; k++)
		p[k] = (float)((double)p[k] / sum);
	return log(sum) + (double)top;
}

/* Label smoothing s: targets are (1 - s) of their own and s spread evenly over the classes (Szegedy et al. 2016). */
static double
cross_entropy_row(const struct mmq_mlp_net *net, const float *z, float *delta, const struct mmq_dataset *data, size_t row, size_t width)
{
	double loss = 0.0, s = net->smoothing, even = s / (double)(width == 1 ? 2 : width);
	if (net->output == MMQ_MLP_SOFTMAX) {
		size_t k = (size_t)data->y[row];
		double all = softmax_row(delta, z, width);
		loss = all - (1.0 - s) * (double)z[k];
		delta[k] -= (float)(1.0 - s);
		for (size_t j = 0; s > 0.0 && j < width; j++) {
			loss -= even * (double)z[j];
			delta[j] -= (float)even;
		}
		return loss;
	}
	for (size_t k = 0; k < width; k++) {
		double target = (1.0 - s) * target_of(data, row, width, k) + even, value = (double)z[k];
		loss += (value > 0.0 ? value : 0.0) - value * target + log1p(exp(-fabs(value)));
		delta[k] = (float)((double)mmq_sigmoid1(z[k]) - target);
	}
	return loss;
}

/* The loss of one error is added; returns its derivative. */
static double
slope_of(const struct mmq_mlp_net *net, double error, double *loss)
{
	double size = fabs(error);
	if (net->loss == MMQ_MLP_MSE || (net->loss == MMQ_MLP_HUBER && size <= net->huber)) {
		*loss += 0.5 * error * error;
		return error;
	}
	if (net->loss == MMQ_MLP_HUBER) {
		*loss += net->huber * (size - 0.5 * net->huber);
		return error > 0.0 ? net->huber : -net->huber;
	}
	*loss += size;
	return error > 0.0 ? 1.0 : error < 0.0 ? -1.0 : 0.0;
}

static double
error_row(const struct mmq_mlp_net *net, const float *z, float *delta, const struct mmq_dataset *data, size_t row, size_t width)
{
	double loss = 0.0, mixed = 0.0;
	if (net->output == MMQ_MLP_SOFTMAX)
		softmax_row(delta, z, width);
	for (size_t k = 0; k < width; k++) {
		double a = net->output == MMQ_MLP_SOFTMAX ? (double)delta[k] : net->output == MMQ_MLP_LOGISTIC ? (double)mmq_sigmoid1(z[k]) :
		    (double)z[k];
		double error = a - target_of(data, row, width, k), slope = slope_of(net, error, &loss);
		mixed += slope * a;
		delta[k] = (float)(net->output == MMQ_MLP_LOGISTIC ? slope * a * (1.0 - a) : net->output == MMQ_MLP_SOFTMAX ? a : slope);
	}
	if (net->output == MMQ_MLP_SOFTMAX) {   /* the Jacobian of softmax: p_k (e_k - sum_j p_j e_j) */
		double unused = 0.0;
		for (size_t k = 0; k < width; k++) {
			double a = (double)delta[k];
			delta[k] = (float)(a * (slope_of(net, a - target_of(data, row, width, k), &unused) - mixed));
		}
	}
	return loss;
}

/* One logistic output, all weights 1. log(1 + e1) + log(1 + e2) + .. = log of the product; each factor is in (1, 2]. */
static double
logistic_rows(const float *z, const struct mmq_mlp_rows *rows, size_t first, size_t count, float *delta)
{
	enum { FACTORS = 512 };
	double sum = 0.0, product = 1.0;
	for (size_t i = 0; i < count; i++)
		delta[i] = -fabsf(z[i]);
	mmq_exp_f32(delta, delta, count);
	for (size_t i = 0; i < count; i++) {
		double e = (double)delta[i], value = (double)z[i], target = rows->data->y[rows->index != NULL ? rows->index[first + i] : first + i];
		double p = (value > 0.0 ? 1.0 : e) / (1.0 + e);
		sum += (value > 0.0 ? value : 0.0) - value * target;
		product *= 1.0 + e;
		if (i % FACTORS == FACTORS - 1) {
			sum += log(product);
			product = 1.0;
		}
		delta[i] = (float)(p - target);
	}
	return sum + log(product);
}

double
mmq_mlp_loss(const struct mmq_mlp_net *net, const float *z, const struct mmq_mlp_rows *rows, size_t first, size_t count, float *delta_out,
    double *weight_sum_out)
{
	size_t width = net->layer[net->layers - 1].out_count;
	double sum = 0.0;
	if (net->loss == MMQ_MLP_CROSS_ENTROPY && width == 1 && net->output == MMQ_MLP_LOGISTIC && rows->weight == NULL && net->smoothing == 0.0) {
		*weight_sum_out += (double)count;
		return logistic_rows(z, rows, first, count, delta_out);
	}
	for (size_t i = 0; i < count; i++) {
		size_t row = rows->index != NULL ? rows->index[first + i] : first + i;
		double weight = rows->weight != NULL ? (double)rows->weight[row] : 1.0;
		float *delta = delta_out + i * width;
		double loss = net->loss == MMQ_MLP_CROSS_ENTROPY ? cross_entropy_row(net, z + i * width, delta, rows->data, row, width) :
		    error_row(net, z + i * width, delta, rows->data, row, width);
		sum += weight * loss;
		*weight_sum_out += weight;
		for (size_t k = 0; weight != 1.0 && k < width; k++)
			delta[k] = (float)(weight * (double)delta[k]);
	}
	return sum;
}
