/* loss.c: losses of the output layer and their derivatives, sums in double.
 *
 * cross_entropy with softmax or logistic outputs, and with both delta = p - target. mse is half the squared error summed over
 * the outputs, through whichever output activation (the textbook's E = 1/2 sum (y - t)^2, averaged over rows later). */
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

static double
cross_entropy_row(const struct mmq_mlp_net *net, const float *z, float *delta, const struct mmq_dataset *data, size_t row, size_t width)
{
	double loss = 0.0;
	if (net->output == MMQ_MLP_SOFTMAX) {
		size_t k = (size_t)data->y[row];
		loss = softmax_row(delta, z, width) - (double)z[k];
		delta[k] -= 1.0f;
		return loss;
	}
	for (size_t k = 0; k < width; k++) {
		double target = target_of(data, row, width, k), value = (double)z[k];
		loss += (value > 0.0 ? value : 0.0) - value * target + log1p(exp(-fabs(value)));
		delta[k] = (float)((double)mmq_sigmoid1(z[k]) - target);
	}
	return loss;
}

static double
squared_row(const struct mmq_mlp_net *net, const float *z, float *delta, const struct mmq_dataset *data, size_t row, size_t width)
{
	double loss = 0.0, mixed = 0.0;
	if (net->output == MMQ_MLP_SOFTMAX)
		softmax_row(delta, z, width);
	for (size_t k = 0; k < width; k++) {
		double a = net->output == MMQ_MLP_SOFTMAX ? (double)delta[k] : net->output == MMQ_MLP_LOGISTIC ? (double)mmq_sigmoid1(z[k]) :
		    (double)z[k];
		double error = a - target_of(data, row, width, k);
		loss += 0.5 * error * error;
		mixed += error * a;
		delta[k] = (float)(net->output == MMQ_MLP_LOGISTIC ? error * a * (1.0 - a) : error);
	}
	if (net->output == MMQ_MLP_SOFTMAX) {   /* the Jacobian of softmax: p_k (e_k - sum_j p_j e_j) */
		for (size_t k = 0; k < width; k++) {
			double error = (double)delta[k];
			delta[k] = (float)((error + target_of(data, row, width, k)) * (error - mixed));
		}
	}
	return loss;
}

double
mmq_mlp_loss(const struct mmq_mlp_net *net, const float *z, const struct mmq_mlp_rows *rows, size_t first, size_t count, float *delta_out,
    double *weight_sum_out)
{
	size_t width = net->widths[net->layers];
	double sum = 0.0;
	for (size_t i = 0; i < count; i++) {
		size_t row = rows->index != NULL ? rows->index[first + i] : first + i;
		double weight = rows->weight != NULL ? (double)rows->weight[row] : 1.0;
		float *delta = delta_out + i * width;
		double loss = net->loss == MMQ_MLP_CROSS_ENTROPY ? cross_entropy_row(net, z + i * width, delta, rows->data, row, width) :
		    squared_row(net, z + i * width, delta, rows->data, row, width);
		sum += weight * loss;
		*weight_sum_out += weight;
		for (size_t k = 0; weight != 1.0 && k < width; k++)
			delta[k] = (float)(weight * (double)delta[k]);
	}
	return sum;
}
