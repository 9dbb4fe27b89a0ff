/* svm.c: the engine's table: C-SVC (one against one) and epsilon-SVR with the four classic kernels. */
#include "engine/svm/model.h"

const struct mmq_param svm_params[] = {
	{ "C", "c cost", MMQ_P_NUMBER, "1", 1e-9, 1e12, NULL, "Penalty of a margin violation; larger fits the training rows harder.", 1e-2, 1e4 },
	{ "kernel", "t", MMQ_P_ENUM, "rbf", 0, 0, "linear|poly|rbf|sigmoid",
	    "linear x.z; poly (gamma x.z + coef0)^degree; rbf exp(-gamma |x-z|^2); sigmoid tanh(gamma x.z + coef0).", 0, 0 },
	{ "degree", "d", MMQ_P_INT, "3", 1, 20, NULL, "Degree of the poly kernel.", 2, 5 },
	{ "gamma", "g", MMQ_P_NUMBER_OR_ENUM, "scale", 1e-12, 1e12, "scale|auto",
	    "Kernel coefficient; scale is 1 / (columns * variance of all prepared values), auto is 1 / columns.", 1e-4, 10 },
	{ "coef0", "r", MMQ_P_NUMBER, "0", -1e12, 1e12, NULL, "Constant term of the poly and sigmoid kernels.", 0, 0 },
	{ "epsilon", "p svr_epsilon", MMQ_P_NUMBER, "0.1", 0, 1e12, NULL,
	    "Regression: errors below this cost nothing; in units of the standardised target.", 0, 0 },
	{ "tol", "e eps", MMQ_P_NUMBER, "0.001", 1e-9, 1, NULL, "Stop when the largest violation of the optimality conditions is below this.", 0, 0 },
	{ "cache_size", "m", MMQ_P_NUMBER, "200", 0.1, 1e6, NULL, "Memory for kernel rows, in MB.", 0, 0 },
	{ "max_iter", NULL, MMQ_P_INT, "-1", -1, 1e15, NULL, "Steps at the most per pair of classes; -1: ten million, or 100 per row.", 0, 0 },
	{ "probability", "b", MMQ_P_BOOL, "false", 0, 0, NULL,
	    "Classification: fit probabilities by five-fold cross-validation (Platt); takes about five times as long.", 0, 0 },
	{ .name = NULL },
};

const struct mmq_engine mmq_engine_svm = {
	.abi = MMQ_ENGINE_ABI,
	.name = "svm",
	.summary = "Support vector machine: C-SVC and epsilon-SVR; linear, polynomial, RBF and sigmoid kernels",
	.tasks = MMQ_REGRESSION | MMQ_BINARY | MMQ_MULTICLASS,
	.accepts = MMQ_ACCEPTS_SPARSE | MMQ_ACCEPTS_F64 | MMQ_ACCEPTS_VECTOR | MMQ_WANTS_SCALED | MMQ_WANTS_ONE_HOT | MMQ_WANTS_TARGET_SCALED,
	.outputs = MMQ_OUT_SCORE | MMQ_OUT_PROBABILITY | MMQ_OUT_PAIRWISE,
	.can = MMQ_CAN_WEIGHTS,
	.params = svm_params,
	.check = svm_check,
	.train = svm_train,
	.save = svm_save,
	.open = svm_open,
	.score_cols = svm_score_cols,
	.shape = svm_shape,
	.gives = svm_gives,
	.scratch_bytes = svm_scratch_bytes,
	.predict = svm_predict,
	.describe = svm_describe,
	.destroy = svm_destroy,
};
