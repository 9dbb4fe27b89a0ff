/* logistic.c: logistic and softmax regression: minimise sum w loss + |b|^2 / (2 C), the intercepts unpenalised (scikit-learn's C).
 *
 * Few unknowns: Newton's method (iteratively reweighted least squares) with a Cholesky factor and step halving, some five to ten passes
 * over the rows. Many: L-BFGS. Both stop when the largest gradient entry, divided by the sum of weights, is below tol. Everything is summed in
 * double over fixed parts of the rows: the same bits for any number of threads. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/linear/linear.h"
#include "math/blas.h"
#include "util/mem.h"

struct mmq_linear_objective {
	const struct mmq_fit *fit;
	const struct mmq_dataset *data;
	size_t cols, wide, outputs, size;    /* wide: cols + 1; size: outputs * wide */
	size_t parts;
	bool with_intercept, with_hessian;
	double penalty, weight_sum;
	const double *theta;
	double *coef, *intercept;            /* theta taken apart for the product with rows */
	double *part_loss, *part_gradient;   /* (parts), (parts, size): coef (outputs, cols) then intercept (outputs) */
	double *part_hessian, *hessian;      /* (parts, size, size); hessian is the first part */
	bool is_cancelled;
};

/* Scores of one row -> its loss; p (outputs) becomes probability minus target. */
static double
row_loss(double *p, size_t outputs, size_t class)
{
	double top = p[0], sum = 0.0, loss;
	if (outputs == 1) {
		double score = p[0], target = (double)class;
		loss = (score > 0.0 ? score : 0.0) - score * target + log1p(exp(-fabs(score)));
		p[0] = 1.0 / (1.0 + exp(-score)) - target;
		return loss;
	}
	for (size_t k = 1; k < outputs; k++)
		top = p[k] > top ? p[k] : top;
	double own = p[class] - top;
	for (size_t k = 0; k < outputs; k++)
		sum += p[k] = exp(p[k] - top);
	for (size_t k = 0; k < outputs; k++)
		p[k] /= sum;
	p[class] -= 1.0;
	return log(sum) - own;
}

/* Add a block's curvature: sum w (diag(p) - p p^T) kron z z^T, z = (x, 1). p (count, outputs) are probabilities.
 * The block-diagonal part is one product per class, the rest one product of the rows p kron z. */
static void
add_hessian(const struct mmq_linear_objective *o, size_t first, size_t count, const double *p, double *temp, double *hessian)
{
	size_t wide = o->wide, size = o->size;
	double *z = temp, *scaled = temp + MMQ_LINEAR_BLOCK * wide;
	mmq_linear_load(&o->data->x, first, count, NULL, z, wide);
	for (size_t i = 0; i < count; i++)
		z[i * wide + o->cols] = o->with_intercept ? 1.0 : 0.0;
	for (size_t k = 0; k < o->outputs; k++) {
		for (size_t i = 0; i < count; i++) {
			double q = p[i * o->outputs + k], weight = mmq_linear_weight(o->data, first + i);
			double root = sqrt(weight * q * (o->outputs == 1 ? 1.0 - q : 1.0));
			for (size_t j = 0; j < wide; j++)
				scaled[i * wide + j] = root * z[i * wide + j];
		}
		mmq_dsyrk(true, wide, count, 1.0, scaled, wide, 1.0, hessian + k * wide * size + k * wide, size);
	}
	if (o->outputs == 1)
		return;
	for (size_t i = 0; i < count; i++) {
		double root = sqrt(mmq_linear_weight(o->data, first + i));
		for (size_t k = 0; k < o->outputs; k++)
			for (size_t j = 0; j < wide; j++)
				scaled[i * size + k * wide + j] = root * p[i * o->outputs + k] * z[i * wide + j];
	}
	mmq_dsyrk(true, size, count, -1.0, scaled, size, 1.0, hessian, size);
}

/* Scores of a block of two-class rows, in p -> weighted probability minus target; root (count): square root of each row's curvature.
 * Returns the loss. One exp a row: the logarithms of 16 rows, each of a number up to 2, are taken of their product. */
static double
binary_block(const struct mmq_linear_objective *o, size_t first, size_t count, double *p, double *root)
{
	double loss = 0.0, product = 1.0;
	for (size_t i = 0; i < count; i++) {
		double score = p[i], weight = mmq_linear_weight(o->data, first + i), small = exp(-fabs(score)), share = 1.0 / (1.0 + small);
		double target = o->data->y[first + i], probability = score > 0.0 ? share : small * share;
		loss += weight * ((score > 0.0 ? score : 0.0) - score * target);
		if (weight == 1.0)
			product *= 1.0 + small;
		else
			loss += weight * log1p(small);
		if (i % 16 == 15) {
			loss += log(product);
			product = 1.0;
		}
		p[i] = weight * (probability - target);
		root[i] = sqrt(weight * small) * share;
	}
	return loss + log(product);
}

/* Add a block's curvature for two classes: a product in float32, since Newton's directions need no more; the sums of blocks in double.
 * z (count, cols); scaled (count, wide) and tile (wide, wide) are scratch. */
static void
add_binary_hessian(const struct mmq_linear_objective *o, const double *z, const double *root, size_t count, float *scaled, float *tile,
    double *hessian)
{
	size_t wide = o->wide;
	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < o->cols; j++)
			scaled[i * wide + j] = (float)(root[i] * z[i * o->cols + j]);
		scaled[i * wide + o->cols] = o->with_intercept ? (float)root[i] : 0.0f;
	}
	mmq_ssyrk(true, wide, count, 1.0f, scaled, wide, 0.0f, tile, wide);
	for (size_t i = 0; i < wide; i++)
		for (size_t j = i; j < wide; j++)
			hessian[i * wide + j] += (double)tile[i * wide + j];
}

/* Two classes over dense rows: each block is read once for scores, gradient and curvature. */
static void
evaluate_binary_part(struct mmq_linear_objective *o, size_t part)
{
	const struct mmq_dataset *data = o->data;
	size_t from = data->x.rows * part / o->parts, to = data->x.rows * (part + 1) / o->parts, wide = o->wide;
	double *block = mmq_array(MMQ_LINEAR_BLOCK * (o->cols + 2), sizeof(*block)), *p = block + MMQ_LINEAR_BLOCK * o->cols;
	double *root = p + MMQ_LINEAR_BLOCK, *gradient = o->part_gradient + part * o->size, *hessian = NULL, loss = 0.0;
	float *scaled = mmq_array((MMQ_LINEAR_BLOCK + wide) * wide, sizeof(*scaled));

	memset(gradient, 0, o->size * sizeof(*gradient));
	if (o->with_hessian) {
		hessian = o->part_hessian + part * o->size * o->size;
		memset(hessian, 0, o->size * o->size * sizeof(double));
	}
	for (size_t count; from < to; from += count) {
		count = to - from < MMQ_LINEAR_BLOCK ? to - from : MMQ_LINEAR_BLOCK;
		mmq_linear_load(&data->x, from, count, NULL, block, o->cols);
		mmq_dgemv(false, count, o->cols, 1.0, block, o->cols, o->coef, 0.0, p);
		for (size_t i = 0; i < count; i++)
			p[i] += o->intercept[0];
		loss += binary_block(o, from, count, p, root);
		mmq_dgemv(true, count, o->cols, 1.0, block, o->cols, p, 1.0, gradient);
		for (size_t i = 0; i < count; i++)
			gradient[o->cols] += p[i];
		if (hessian != NULL)
			add_binary_hessian(o, block, root, count, scaled, scaled + MMQ_LINEAR_BLOCK * wide, hessian);
	}
	o->part_loss[part] = loss;
	free(scaled);
	free(block);
}

static void
evaluate_part(void *arg, size_t part, unsigned thread)
{
	struct mmq_linear_objective *o = arg;
	const struct mmq_dataset *data = o->data;
	(void)thread;
	if (o->outputs == 1 && data->x.row_start == NULL && data->x.dtype == MMQ_F32) {
		evaluate_binary_part(o, part);
		return;
	}
	size_t from = data->x.rows * part / o->parts, to = data->x.rows * (part + 1) / o->parts, outputs = o->outputs;
	size_t block_size = MMQ_LINEAR_BLOCK * (data->x.row_start != NULL ? 1 : o->cols);
	size_t temp_size = o->with_hessian ? MMQ_LINEAR_BLOCK * (o->wide + o->size) : 0;
	double *block = mmq_array(block_size + MMQ_LINEAR_BLOCK * outputs + temp_size, sizeof(*block)), *p = block + block_size;
	double *gradient = o->part_gradient + part * o->size, loss = 0.0;
	memset(gradient, 0, o->size * sizeof(*gradient));
	if (o->with_hessian)
		memset(o->part_hessian + part * o->size * o->size, 0, o->size * o->size * sizeof(double));
	for (size_t count; from < to; from += count) {
		count = to - from < MMQ_LINEAR_BLOCK ? to - from : MMQ_LINEAR_BLOCK;
		mmq_linear_forward(&data->x, from, count, o->coef, o->intercept, outputs, block, p);
		for (size_t i = 0; i < count; i++)
			loss += mmq_linear_weight(data, from + i) * row_loss(p + i * outputs, outputs, (size_t)data->y[from + i]);
		for (size_t i = 0; o->with_hessian && i < count; i++)
			p[i * outputs + (outputs == 1 ? 0 : (size_t)data->y[from + i])] += outputs == 1 ? data->y[from + i] : 1.0;
		if (o->with_hessian)
			add_hessian(o, from, count, p, p + MMQ_LINEAR_BLOCK * outputs, o->part_hessian + part * o->size * o->size);
		for (size_t i = 0; i < count; i++) {
			double weight = mmq_linear_weight(data, from + i);
			size_t class = (size_t)data->y[from + i];
			if (o->with_hessian)
				p[i * outputs + (outputs == 1 ? 0 : class)] -= outputs == 1 ? data->y[from + i] : 1.0;
			for (size_t k = 0; weight != 1.0 && k < outputs; k++)
				p[i * outputs + k] *= weight;
		}
		mmq_linear_backward(&data->x, from, count, p, outputs, block, gradient, gradient + outputs * o->cols);
	}
	o->part_loss[part] = loss;
	free(block);
}

double
mmq_linear_evaluate(struct mmq_linear_objective *o, const double *theta, double *gradient, bool with_hessian)
{
	double value = 0.0;
	o->with_hessian = with_hessian;
	for (size_t k = 0; k < o->outputs; k++) {
		memcpy(o->coef + k * o->cols, theta + k * o->wide, o->cols * sizeof(*theta));
		o->intercept[k] = o->with_intercept ? theta[k * o->wide + o->cols] : 0.0;
	}
	mmq_pool_run(o->fit->pool, o->parts, evaluate_part, o);
	for (size_t k = 0; k < o->outputs; k++) {
		for (size_t j = 0; j < o->wide; j++) {
			size_t at = j < o->cols ? k * o->cols + j : o->outputs * o->cols + k, to = k * o->wide + j;
			gradient[to] = 0.0;
			for (size_t p = 0; p < o->parts && (j < o->cols || o->with_intercept); p++)
				gradient[to] += o->part_gradient[p * o->size + at];
			if (j < o->cols) {
				gradient[to] += o->penalty * theta[to];
				value += 0.5 * o->penalty * theta[to] * theta[to];
			}
		}
	}
	for (size_t p = 0; p < o->parts; p++)
		value += o->part_loss[p];
	for (size_t p = 1; with_hessian && p < o->parts; p++)
		for (size_t i = 0; i < o->size * o->size; i++)
			o->hessian[i] += o->part_hessian[p * o->size * o->size + i];
	return value;
}

/* The largest entry; negative when one is not a number. */
static double
largest(const double *values, size_t count)
{
	double top = 0.0;
	for (size_t i = 0; i < count; i++) {
		if (!isfinite(values[i]))
			return INFINITY;
		top = fabs(values[i]) > top ? fabs(values[i]) : top;
	}
	return top;
}

static bool
report_step(void *arg, int64_t iteration, double value)
{
	struct mmq_linear_objective *o = arg;
	int64_t iterations_max = mmq_params_int(o->fit->params, "max_iter");
	struct mmq_progress_state state = { .fraction = (double)iteration / (double)iterations_max, .loss = value / o->weight_sum,
		.valid_loss = NAN, .iteration = iteration, .iterations_max = iterations_max, .loss_name = "log_loss" };
	o->is_cancelled = !mmq_progress_step(o->fit->progress, &state);
	return !o->is_cancelled;
}

/* hessian -> its factor, with the penalty, and a little on the diagonal where nothing else fixes a direction (the common shift of
 * softmax intercepts, an absent intercept). False: not positive even so. */
static bool
factor_hessian(struct mmq_linear_objective *o, double damping)
{
	for (size_t i = 0; i < o->size; i++)
		o->hessian[i * o->size + i] += (i % o->wide < o->cols ? o->penalty : 0.0) + damping;
	mmq_linear_mirror(o->hessian, o->size);
	return mmq_linear_cholesky(o->hessian, o->size) > 0.0;
}

/* Newton with step halving. 1: converged, 0: not, -1: cancelled. */
static int
newton(struct mmq_linear_objective *o, double *theta, double gradient_max, int64_t iterations_max, int64_t *iterations_out, double *value_out)
{
	double *work = mmq_array(3 * o->size, sizeof(*work)), *gradient = work, *direction = work + o->size, *trial = work + 2 * o->size;
	double value = mmq_linear_evaluate(o, theta, gradient, true), damping = 1e-10 * o->weight_sum;
	int rc = 0;
	*iterations_out = 0;
	while (rc == 0) {
		if (largest(gradient, o->size) <= gradient_max) {
			rc = 1;
			break;
		}
		if (*iterations_out >= iterations_max)
			break;
		if (!report_step(o, *iterations_out, value)) {
			rc = -1;
			break;
		}
		memcpy(direction, gradient, o->size * sizeof(*direction));
		if (!factor_hessian(o, damping)) {   /* curvature gone in rounding: start it again, stiffer */
			damping *= 1e3;
			if (damping > o->weight_sum)
				break;
			mmq_linear_evaluate(o, theta, gradient, true);
			continue;
		}
		mmq_linear_cholesky_solve(o->hessian, o->size, direction);
		double slope = 0.0, step = 1.0, next = INFINITY;
		for (size_t i = 0; i < o->size; i++)
			slope -= direction[i] * gradient[i];
		for (int halvings = 0; halvings < 40; halvings++, step *= 0.5) {
			for (size_t i = 0; i < o->size; i++)
				trial[i] = theta[i] - step * direction[i];
			next = mmq_linear_evaluate(o, trial, gradient, true);
			if (next <= value + 1e-4 * step * slope + 1e-13 * fabs(value))
				break;
		}
		++*iterations_out;
		if (!(next <= value + 1e-13 * fabs(value)))
			break;   /* no step helps: as far as rounding lets us */
		memcpy(theta, trial, o->size * sizeof(*theta));
		value = next;
	}
	*value_out = value;
	free(work);
	return rc;
}

static void
warn(struct mmq_linear_fit *out, const struct mmq_dataset *data)
{
	bool has_other = false;
	for (size_t r = 1; r < data->x.rows && !has_other; r++)
		has_other = data->y[r] != data->y[0];
	if (!has_other)
		out->warning = "all training rows have the same class";
	else if (!out->converged)
		out->warning = "not converged: max_iter iterations were done before the gradient fell below tol";
}

int
mmq_linear_logistic(struct mmq_linear_fit *out, const struct mmq_fit *fit, struct mmq_err *err)
{
	const struct mmq_dataset *data = fit->train;
	size_t cols = out->cols, outputs = out->outputs, size = outputs * (cols + 1);
	bool is_newton = outputs * cols <= MMQ_LINEAR_NEWTON_SIZE;
	int64_t iterations_max = mmq_params_int(fit->params, "max_iter");
	struct mmq_linear_objective o = { .fit = fit, .data = data, .cols = cols, .wide = cols + 1, .outputs = outputs, .size = size,
		.parts = mmq_linear_parts(data->x.rows, (is_newton ? size * size : size) * sizeof(double)),
		.with_intercept = mmq_params_bool(fit->params, "fit_intercept"), .penalty = 1.0 / mmq_params_number(fit->params, "C"),
		.coef = out->coef, .intercept = out->intercept };
	double *theta = mmq_array(2 * size, sizeof(*theta)), value;

	for (size_t r = 0; r < data->x.rows; r++)
		o.weight_sum += mmq_linear_weight(data, r);
	o.part_loss = mmq_array(o.parts, sizeof(double));
	o.part_gradient = mmq_array(o.parts * size, sizeof(double));
	o.part_hessian = o.hessian = is_newton ? mmq_array(o.parts * size * size, sizeof(double)) : NULL;
	double gradient_max = mmq_params_number(fit->params, "tol") * o.weight_sum;
	int rc = is_newton ? newton(&o, theta, gradient_max, iterations_max, &out->iterations, &value) :
	    mmq_linear_lbfgs(&o, theta, size, gradient_max, iterations_max, report_step, &o, &out->iterations, &value);
	for (size_t k = 0; k < outputs; k++) {
		memcpy(out->coef + k * cols, theta + k * o.wide, cols * sizeof(*theta));
		out->intercept[k] = o.with_intercept ? theta[k * o.wide + cols] : 0.0;
	}
	out->converged = rc == 1;
	out->loss = value / o.weight_sum;
	out->method = is_newton ? "newton" : "lbfgs";
	warn(out, data);
	free(theta), free(o.part_loss), free(o.part_gradient), free(o.part_hessian);
	return rc == -1 ? mmq_err_set(err, MMQ_CANCELLED, "linear: cancelled in iteration %lld", (long long)out->iterations) : 0;
}
