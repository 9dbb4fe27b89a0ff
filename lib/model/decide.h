/* decide.h: from an engine's scores and probabilities to what a user asked for: labels of their own type, and values
 * in the target's own units. Works over any engine.
 *
 * Binary engines know codes 0 and 1; code 1 stands for the class `positive`. Decision: with probabilities, binary by
 * threshold and multiclass by the largest (the first on a tie); without, binary by the score's sign, multiclass by the
 * largest score, or by votes when scores are pairwise (Knerr, Personnaz, Dreyfus 1990; the first class on a tie, as LIBSVM).
 * A one-class model's engine knows no classes; its labels are scikit-learn's: 1 inside (score > 0), -1 outside. */
#ifndef MMQ_MODEL_DECIDE_H
#define MMQ_MODEL_DECIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/part.h"
#include "data/target.h"
#include "engine/engine.h"
#include "util/err.h"

struct mmq_decide {
	enum mmq_task task;
	struct mmq_classes classes; /* owned; count 0: regression; one-class: -1, 1 */
	uint32_t positive;       /* binary: index of the class that code 1 stands for */
	bool pairwise;           /* multiclass: score columns are the pairs (0,1) (0,2) .. (1,2) .. */
	double threshold;        /* binary: probability of the positive class above which it is predicted */
	double mean, scale;      /* regression: value = mean + scale * score */
};
void mmq_decide_fini(struct mmq_decide *decide);
void mmq_decide_one_class(struct mmq_classes *classes_out);   /* -1, 1: the caller's */
/* Classes that the engine knows. */
static inline size_t
mmq_decide_engine_classes(const struct mmq_decide *decide)
{
	return decide->task == MMQ_ONE_CLASS ? 0 : decide->classes.count;
}
void mmq_decide_save(const struct mmq_decide *decide, struct mmq_part *out);
int mmq_decide_open(struct mmq_decide *decide, const struct mmq_part *in, struct mmq_err *err); /* fini also after -1 */

/* Class index 0..classes-1 of an engine's code and back: they differ only when `positive` is class 0. */
static inline uint32_t
mmq_decide_class(const struct mmq_decide *decide, uint32_t code)
{
	return decide->task == MMQ_BINARY && decide->positive == 0 ? 1 - code : code;
}

/* label (rows) from score (rows, score_cols) or, when not NULL, probability (rows, classes; in class order). Classification only. */
void mmq_decide_labels(const struct mmq_decide *decide, size_t rows, const double *score, size_t score_cols, const double *probability,
    uint32_t *label_out);
/* In place: from code order to class order. */
void mmq_decide_probability(const struct mmq_decide *decide, size_t rows, double *probability);
/* In place: from the engine's units to the target's. Regression only. */
void mmq_decide_values(const struct mmq_decide *decide, size_t rows, double *value);

#endif
