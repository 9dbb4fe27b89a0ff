/* calibrate.h: probabilities from scores, over any engine that classifies.
 *
 * One curve per class from its score to its probability, fitted on rows that the engine did not learn from: a sigmoid (Platt 1999) or a rising
 * step function made continuous (isotonic regression; Zadrozny and Elkan 2002). Several classes are each held against all others and
 * then made to add up to 1. Pairwise scores are first turned into one per class: votes, and below a vote's worth the sums of the scores. */
#ifndef MMQ_MODEL_CALIBRATE_H
#define MMQ_MODEL_CALIBRATE_H

#include <stddef.h>

#include "data/part.h"
#include "model/decide.h"

enum mmq_calibration { MMQ_CALIBRATE_NONE, MMQ_CALIBRATE_SIGMOID, MMQ_CALIBRATE_ISOTONIC, MMQ_CALIBRATIONS };
const char *mmq_calibration_name(enum mmq_calibration kind);

/* Points (x ascending, y rising) with straight lines between and levels outside, or the two numbers of a sigmoid. */
struct mmq_curve {
	double a, b;
	double *x, *y;
	size_t count;
};

struct mmq_calibrate {
	enum mmq_calibration kind;
	struct mmq_curve *curves;   /* (count): binary 1, of code 1; several classes: one each */
	size_t count;
};
void mmq_calibrate_fini(struct mmq_calibrate *calibrate);

/* Columns of what a curve takes: binary 1, several classes: one each. */
size_t mmq_calibrate_cols(const struct mmq_decide *decide);
/* An engine's scores (rows, score_cols) -> out (rows, mmq_calibrate_cols). */
void mmq_calibrate_inputs(const struct mmq_decide *decide, size_t rows, const double *score, size_t score_cols, double *out);

/* Fit on inputs (rows, cols) of known codes (rows, as the engine knows them). weight (rows) or NULL.
 * FAILED_PRECONDITION: a class is all of the rows, or none. */
int mmq_calibrate_fit(struct mmq_calibrate *calibrate, enum mmq_calibration kind, const struct mmq_decide *decide, const double *inputs,
    const double *code, const float *weight, size_t rows, struct mmq_err *err);
/* inputs (rows, cols) -> probability (rows, classes), in code order, each row adding up to 1. */
void mmq_calibrate_apply(const struct mmq_calibrate *calibrate, size_t rows, const double *inputs, double *probability);

void mmq_calibrate_save(const struct mmq_calibrate *calibrate, struct mmq_part *out);
int mmq_calibrate_open(struct mmq_calibrate *calibrate, const struct mmq_decide *decide, const struct mmq_part *in, struct mmq_err *err); /* fini also after -1 */

#endif
