/* fit.c: from parameters and a data set to problems and their solvers, which are chosen by shape:
 *
 *   squared loss      L2: ridge.c; L1: the Gram matrix up to 2048 columns (lasso.c), wider dense rows working sets (wide.c), sparse ones columns.c
 *   smooth losses     up to 500 unknowns Newton (newton.c); more: with L1 columns.c, softmax lbfgs.c, squared hinge and epsilon over sparse or wide
 *                     rows dual.c, else truncated.c
 *   other losses      dual.c; dense rows, 20 and more a column, and up to 500 columns smooth.c
 *
 * Several classes are one softmax problem for the log loss, otherwise one problem a class against the rest. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/linear/linear.h"
#include "util/mem.h"

typedef int solver(struct mmq_linear_fit *out, const struct mmq_linear_problem *p, struct mmq_err *err);

const struct mmq_param mmq_linear_params[] = {
	{ "loss", NULL, MMQ_P_ENUM, "auto", 0, 0, "auto|squared_error|log_loss|hinge|squared_hinge|epsilon_insensitive|squared_epsilon_insensitive",
	    "auto: squared_error (ridge, lasso) for regression, log_loss (logistic, softmax) for classes. Others: linear support vector machines.", 0, 0 },
	{ "penalty", NULL, MMQ_P_ENUM, "l2", 0, 0, "l2|l1|elasticnet|none", "Norm of the coefficients that is penalised.", 0, 0 },
	{ "l1_ratio", NULL, MMQ_P_NUMBER, "0.5", 0, 1, NULL, "Elastic net: share of L1, the rest is L2.", 0.05, 0.95 },
	{ "alpha", "lambda l2_regularization", MMQ_P_NUMBER, "1.0", 0, 1e15, NULL,
	    "squared_error: penalty. l2: alpha |w|^2 beside the sum of squares; l1, elasticnet: as scikit-learn's Lasso, beside half the mean of squares.", 1e-4, 1e4 },
	{ "C", "inverse_regularization", MMQ_P_NUMBER, "1.0", 1e-12, 1e15, NULL, "Other losses: their factor against a penalty of factor 1.", 1e-4, 1e4 },
	{ "epsilon", "svr_epsilon", MMQ_P_NUMBER, "0", 0, 1e15, NULL, "Epsilon losses: errors below this cost nothing; in units of the target.", 0, 0 },
	{ "fit_intercept", NULL, MMQ_P_BOOL, "true", 0, 0, NULL, "Fit an intercept.", 0, 0 },
	{ "penalize_intercept", NULL, MMQ_P_BOOL, "false", 0, 0, NULL,
	    "Penalise the intercept as LIBLINEAR does: it is the coefficient of one more column that holds intercept_scaling.", 0, 0 },
	{ "intercept_scaling", "bias", MMQ_P_NUMBER, "1", 1e-6, 1e6, NULL, "Value of that column; LIBLINEAR's -B.", 0, 0 },
	{ "multi_class", NULL, MMQ_P_ENUM, "auto", 0, 0, "auto|multinomial|ovr",
	    "Three classes and more: multinomial (softmax; log_loss only, and its default) or one against the rest.", 0, 0 },
	{ "solver", NULL, MMQ_P_ENUM, "auto", 0, 0, "auto|newton|newton_cg|lbfgs|dual|smoothed|coordinate",
	    "auto chooses by loss, penalty and shape; `describe` says which method it was.", 0, 0 },
	{ "tol", "eps", MMQ_P_NUMBER, "0.0001", 1e-14, 1, NULL,
	    "Stop when no gradient entry over the sum of weights, or where there is one the duality gap over the objective, is above tol.", 0, 0 },
	{ "max_iter", NULL, MMQ_P_INT, "100", 1, 1e7, NULL, "Most iterations; ten times as many epochs and sweeps where these are cheaper than a pass.", 0, 0 },
	{ NULL, NULL, MMQ_P_BOOL, NULL, 0, 0, NULL, NULL, 0, 0 },
};

static const struct { const char *name; enum mmq_linear_loss loss; } loss_names[] = { { "squared_error", MMQ_LOSS_SQUARED }, { "log_loss", MMQ_LOSS_LOG },
	{ "hinge", MMQ_LOSS_HINGE }, { "squared_hinge", MMQ_LOSS_SQUARED_HINGE }, { "epsilon_insensitive", MMQ_LOSS_EPSILON },
	{ "squared_epsilon_insensitive", MMQ_LOSS_SQUARED_EPSILON } };
enum { TALL = 20 /* rows a column from which Newton's passes are cheaper than epochs of coordinates */, LOSSES = sizeof(loss_names) / sizeof(loss_names[0]) };

static enum mmq_linear_loss
loss_of(const struct mmq_fit *fit)
{
	const char *name = mmq_params_choice(fit->params, "loss");
	for (size_t i = 0; i < LOSSES; i++)
		if (strcmp(name, loss_names[i].name) == 0)
			return loss_names[i].loss;
	return fit->task == MMQ_REGRESSION ? MMQ_LOSS_SQUARED : MMQ_LOSS_LOG;
}

const char *
mmq_linear_loss_name(const struct mmq_fit *fit)
{
	for (size_t i = 0; i < LOSSES; i++)
		if (loss_names[i].loss == loss_of(fit))
			return loss_names[i].name;
	return "";
}

static bool
is_choice(const struct mmq_fit *fit, const char *name, const char *value)
{
	return strcmp(mmq_params_choice(fit->params, name), value) == 0;
}

static bool
is_softmax(const struct mmq_fit *fit)
{
	return fit->train->classes > 2 && loss_of(fit) == MMQ_LOSS_LOG && !is_choice(fit, "multi_class", "ovr");
}

/* The problem without its targets. */
static struct mmq_linear_problem
problem_of(const struct mmq_fit *fit)
{
	const struct mmq_dataset *train = fit->train;
	struct mmq_linear_problem p = { .fit = fit, .x = &train->x, .target = train->y, .weight = train->weight, .pool = fit->pool, .cols = train->x.cols,
		.outputs = is_softmax(fit) ? train->classes : 1, .loss = loss_of(fit), .epsilon = mmq_params_number(fit->params, "epsilon"),
		.with_intercept = mmq_params_bool(fit->params, "fit_intercept"), .tol = mmq_params_number(fit->params, "tol"),
		.iterations_max = mmq_params_int(fit->params, "max_iter"), .seed = fit->seed };
	double l1 = is_choice(fit, "penalty", "l1") ? 1.0 : is_choice(fit, "penalty", "elasticnet") ? mmq_params_number(fit->params, "l1_ratio") : 0.0;
	double alpha = mmq_params_number(fit->params, "alpha"), scale = 1.0 / mmq_params_number(fit->params, "C");
	p.weight_sum = train->weight == NULL ? (double)train->x.rows : 0.0;
	for (size_t r = 0; train->weight != NULL && r < train->x.rows; r++)
		p.weight_sum += (double)train->weight[r];
	if (p.loss == MMQ_LOSS_SQUARED)
		scale = is_choice(fit, "penalty", "l2") ? alpha : alpha * p.weight_sum;
	if (is_choice(fit, "penalty", "none"))
		scale = 0.0;
	p.l1 = scale * l1;
	p.l2 = scale * (1.0 - l1);
	p.bias = p.with_intercept && mmq_params_bool(fit->params, "penalize_intercept") ? mmq_params_number(fit->params, "intercept_scaling") : 0.0;
	return p;
}

static solver *
solver_by_shape(const struct mmq_linear_problem *p)
{
	bool is_few = p->outputs * p->cols <= MMQ_LINEAR_NEWTON_SIZE, is_wide = p->x->row_start != NULL || p->cols > p->x->rows;
	if (p->loss >= MMQ_LOSS_HINGE)
		return is_few && !is_wide && p->x->rows >= TALL * p->cols ? mmq_linear_smoothed : mmq_linear_dual;
	if (p->loss == MMQ_LOSS_SQUARED && p->bias == 0.0 && p->l1 == 0.0)
		return mmq_linear_ridge;
	if (p->loss == MMQ_LOSS_SQUARED && p->bias == 0.0 && p->cols <= MMQ_LINEAR_GRAM_COLS)
		return mmq_linear_lasso;
	if (p->loss == MMQ_LOSS_SQUARED && p->bias == 0.0 && p->x->row_start == NULL)
		return mmq_linear_wide;
	if (is_few)
		return mmq_linear_newton;
	if (p->l1 > 0.0)
		return mmq_linear_columns;
	if (p->outputs > 1)
		return mmq_linear_lbfgs;
	return is_wide && (p->loss == MMQ_LOSS_SQUARED_HINGE || p->loss == MMQ_LOSS_SQUARED_EPSILON) ? mmq_linear_dual : mmq_linear_truncated;
}

static solver *
solver_of(const struct mmq_linear_problem *p)
{
	static const struct { const char *name; solver *solve; } names[] = { { "newton", mmq_linear_newton }, { "newton_cg", mmq_linear_truncated },
		{ "lbfgs", mmq_linear_lbfgs }, { "smoothed", mmq_linear_smoothed }, { "dual", mmq_linear_dual }, { "coordinate", mmq_linear_columns } };
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (is_choice(p->fit, "solver", names[i].name))
			return names[i].solve;
	return solver_by_shape(p);
}

static int
refuse(struct mmq_err *err, const struct mmq_fit *fit, const char *name, const char *want)
{
	char field[48] = "params.";
	strncat(field, name, sizeof(field) - sizeof("params."));
	return mmq_err_value(err, MMQ_INVALID_ARGUMENT, field, want, "%s", mmq_params_choice(fit->params, name));
}

int
mmq_linear_check_params(const struct mmq_fit *fit, struct mmq_err *err)
{
	struct mmq_linear_problem p = problem_of(fit);
	solver *solve = solver_of(&p);
	bool is_svm = p.loss >= MMQ_LOSS_SQUARED_HINGE, has_target = p.loss == MMQ_LOSS_SQUARED || p.loss == MMQ_LOSS_EPSILON || p.loss == MMQ_LOSS_SQUARED_EPSILON;
	const char *other = p.loss == MMQ_LOSS_SQUARED ? "C" : "alpha";
	if (has_target != (fit->task == MMQ_REGRESSION))
		return refuse(err, fit, "loss", fit->task == MMQ_REGRESSION ? "squared_error or an epsilon loss for regression" : "log_loss or a hinge for classes");
	if (mmq_params_is_set(fit->params, other))
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, p.loss == MMQ_LOSS_SQUARED ? "params.C" : "params.alpha", p.loss == MMQ_LOSS_SQUARED ?
		    "alpha with this loss" : "C with this loss", "%g", mmq_params_number(fit->params, other));
	if (is_choice(fit, "multi_class", "multinomial") && p.loss != MMQ_LOSS_LOG)
		return refuse(err, fit, "multi_class", "ovr with this loss");
	if (p.loss >= MMQ_LOSS_HINGE && (p.l1 > 0.0 || p.l2 == 0.0))
		return refuse(err, fit, "penalty", "l2 with this loss");
	bool is_legal = solve == mmq_linear_dual ? is_svm && p.l1 == 0.0 && p.l2 > 0.0 : solve == mmq_linear_truncated ? p.outputs == 1 && p.l1 == 0.0 :
	    solve == mmq_linear_lbfgs ? p.l1 == 0.0 : solve == mmq_linear_columns ? p.outputs == 1 : true;
	bool is_smooth = p.loss < MMQ_LOSS_HINGE;
	if (is_choice(fit, "solver", "auto") && !is_legal && p.outputs > 1)
		return refuse(err, fit, "multi_class", "ovr: classes times columns are too many for softmax with an L1 penalty");
	if (!is_choice(fit, "solver", "auto") && (!is_legal || (!is_smooth && solve != mmq_linear_dual && solve != mmq_linear_smoothed) ||
	    (is_smooth && solve == mmq_linear_smoothed)))
		return refuse(err, fit, "solver", "auto, or one that has this loss and penalty");
	if (is_choice(fit, "solver", "newton") && p.outputs * p.cols > 4 * MMQ_LINEAR_NEWTON_SIZE)
		return refuse(err, fit, "solver", "another for so many columns");
	return 0;
}

bool
mmq_linear_say(const struct mmq_linear_problem *p, int64_t iteration, double measure, const char *name)
{
	struct mmq_progress_state state = { .fraction = (double)iteration / (double)(iteration + 10), .loss = measure, .valid_loss = NAN, .iteration = iteration,
		.iterations_max = p->iterations_max, .loss_name = name };
	return mmq_progress_step(p->fit->progress, &state);
}

int
mmq_linear_cancelled(int64_t iteration, struct mmq_err *err)
{
	return mmq_err_set(err, MMQ_CANCELLED, "linear: cancelled in iteration %lld", (long long)iteration);
}

/* One class against the rest, several of them side by side. */
struct rest {
	const struct mmq_linear_problem *p;
	struct mmq_linear_fit *all, *each;   /* each (outputs) */
	solver *solve;
	struct mmq_err *errors;
	int *rc;
};

struct signs {
	const struct mmq_linear_problem *p;
	double one, *target;
};

static void
sign_part(void *arg, size_t part, unsigned thread)
{
	const struct signs *s = arg;
	size_t rows = s->p->x->rows, to = rows * (part + 1) / MMQ_LINEAR_PARTS_MAX;
	(void)thread;
	for (size_t r = rows * part / MMQ_LINEAR_PARTS_MAX; r < to; r++)
		s->target[r] = s->p->fit->train->y[r] == s->one ? 1.0 : -1.0;
}

/* Targets of one against the rest: class `one` is 1, all others are -1. */
static double *
signs(const struct mmq_linear_problem *p, size_t one)
{
	struct signs s = { .p = p, .one = (double)one, .target = mmq_array(p->x->rows, sizeof(double)) };
	mmq_pool_run(p->pool, MMQ_LINEAR_PARTS_MAX, sign_part, &s);
	return s.target;
}

static void
fit_rest(void *arg, size_t k, unsigned thread)
{
	struct rest *rest = arg;
	struct mmq_linear_problem p = *rest->p;
	size_t one = rest->all->outputs == 1 ? 1 : k;
	double *target = signs(&p, one);
	(void)thread;
	p.target = target;
	p.seed = p.seed + k;
	rest->each[k] = *rest->all;
	rest->each[k].coef += k * p.cols;
	rest->each[k].intercept += k;
	rest->rc[k] = rest->solve(&rest->each[k], &p, &rest->errors[k]);
	free(target);
}

static int
fit_classes(struct mmq_linear_fit *out, const struct mmq_linear_problem *p, solver *solve, struct mmq_err *err)
{
	size_t count = out->outputs;
	struct mmq_linear_problem alone = *p;
	struct rest rest = { .p = &alone, .all = out, .each = mmq_array(count, sizeof(*rest.each)), .solve = solve,
		.errors = mmq_array(count, sizeof(*rest.errors)), .rc = mmq_array(count, sizeof(int)) };
	int rc = 0;
	if (count > 1) {
		alone.pool = NULL;
		mmq_pool_run(p->pool, count, fit_rest, &rest);
	} else {
		fit_rest(&rest, 0, 0);
	}
	out->converged = true;
	for (size_t k = 0; k < count; k++) {
		const struct mmq_linear_fit *one = &rest.each[k];
		out->iterations += one->iterations;
		out->loss += one->loss / (double)count;
		out->gap = k == 0 || one->gap > out->gap ? one->gap : out->gap;
		out->converged = out->converged && one->converged;
		out->method = one->method;
		out->warning = one->warning != NULL ? one->warning : out->warning;
		if (rest.rc[k] == -1 && rc == 0) {
			rc = -1;
			*err = rest.errors[k];
		}
	}
	free(rest.each), free(rest.errors), free(rest.rc);
	return rc;
}

int
mmq_linear_fit_all(struct mmq_linear_fit *out, const struct mmq_fit *fit, enum mmq_linear_link *link_out, struct mmq_err *err)
{
	const struct mmq_dataset *train = fit->train;
	struct mmq_linear_problem p = problem_of(fit);
	solver *solve = solver_of(&p);
	bool has_other = train->classes == 0;
	out->gap = NAN;
	*link_out = p.loss != MMQ_LOSS_LOG ? MMQ_LINK_NONE : train->classes == 2 ? MMQ_LINK_LOGISTIC : p.outputs > 1 ? MMQ_LINK_SOFTMAX : MMQ_LINK_RATIO;
	int rc = train->classes == 0 || p.outputs > 1 ? solve(out, &p, err) : fit_classes(out, &p, solve, err);
	for (size_t r = 1; r < train->x.rows && !has_other; r++)
		has_other = train->y[r] != train->y[0];
	if (!has_other)
		out->warning = "all training rows have the same class";
	else if (!out->converged)
		out->warning = "not converged: max_iter was reached, or rounding stopped it, before tol";
	return rc;
}
