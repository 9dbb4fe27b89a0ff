/* job_importance.c: how much worse the model does when one input column is shuffled, on rows that it has not seen (Breiman 2001; scikit-learn's
 * permutation_importance): for each column and repeat, the score of the rows as they are less the score with the column's cells in
 * another order. Any engine, any kind of column: the raw cells are shuffled, before preparation. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "math/rng.h"
#include "mpack/map.h"
#include "trainer/job_inner.h"
#include "util/mem.h"

enum { STREAM_ROWS = 0x10f0, STREAM_CELLS = 0x10f1 };

/* order (count): 0.. in a seeded random order. */
static void
shuffle(uint32_t *order, size_t count, struct mmq_rng *rng)
{
	for (size_t i = 0; i < count; i++) {
		size_t j = (size_t)mmq_rng_below(rng, i + 1);
		order[i] = order[j];
		order[j] = (uint32_t)i;
	}
}

/* The cells of `from` in the rows' order, in memory of frame. */
static struct mmq_column
gather(struct mmq_frame *frame, const struct mmq_column *from, const uint32_t *rows, size_t count)
{
	struct mmq_column to = *from;

	if (from->type == MMQ_COLUMN_TEXT) {
		struct mmq_text *texts = mmq_arena_get(&frame->arena, count * sizeof(*texts));
		for (size_t i = 0; i < count; i++)
			texts[i] = mmq_column_text(from, rows[i]);
		to.texts = texts;
		to.stride = 1;
		return to;
	}
	double *numbers = mmq_arena_get(&frame->arena, count * from->width * sizeof(*numbers));
	for (size_t i = 0; i < count; i++)
		memcpy(numbers + i * from->width, from->numbers + rows[i] * from->stride, from->width * sizeof(*numbers));
	to.numbers = numbers;
	to.stride = from->width;
	return to;
}

static double
score_of(const struct mmq_job *job, const struct mmq_metrics *metrics)
{
	return metrics->value[job->task == MMQ_REGRESSION ? MMQ_R2 : MMQ_ACCURACY];
}

static int
measure(struct mmq_job *job, const struct mmq_frame *frame, const double *y, double *score_out, struct mmq_err *err)
{
	struct mmq_metrics metrics;
	size_t warnings = job->warnings.size;
	int result = mmq_job_measure(job, job->model, frame, y, NULL, NULL, frame->rows, &metrics, err);

	job->warnings.size = warnings;   /* what shuffled rows are warned about concerns nobody */
	*score_out = result == 0 ? score_of(job, &metrics) : NAN;
	return result;
}

/* Mean and deviation of the drops of one column. */
static int
one_column(struct mmq_job *job, struct mmq_frame *frame, size_t column, const double *y, double whole, struct mmq_importance *out, struct mmq_err *err)
{
	uint32_t repeats = job->request.importance_repeats, *order = mmq_array(frame->rows, sizeof(*order));
	struct mmq_column kept = frame->columns[column];
	struct mmq_rng rng = mmq_rng_stream(job->request.seed, STREAM_CELLS, column);
	double sum = 0, squares = 0, score;
	int result = 0;

	for (uint32_t k = 0; k < repeats && result == 0; k++) {
		struct mmq_frame cells;
		mmq_frame_init(&cells);
		shuffle(order, frame->rows, &rng);
		frame->columns[column] = gather(&cells, &kept, order, frame->rows);
		result = measure(job, frame, y, &score, err);
		mmq_frame_fini(&cells);
		sum += whole - score;
		squares += (whole - score) * (whole - score);
	}
	frame->columns[column] = kept;
	free(order);
	double mean = sum / repeats, variance = squares / repeats - mean * mean;
	*out = (struct mmq_importance){ .mean = mean, .deviation = variance > 0 ? sqrt(variance) : 0 };
	return result;
}

/* frame (initialised): at most rows_max of the held-out rows, seeded; *y_out is the caller's. */
static int
take_rows(struct mmq_job *job, struct mmq_frame *frame, double **y_out, struct mmq_err *err)
{
	bool has_test = job->request.test.kind != MMQ_DATA_NONE, held = job->split.test_count > 0;
	const uint32_t *from = held ? job->split.test : job->split.train;
	size_t count = has_test ? job->test_frame.rows : held ? job->split.test_count : job->split.train_count;
	struct mmq_rng rng = mmq_rng_stream(job->request.seed, STREAM_ROWS, 0);
	uint32_t *rows = mmq_array(count, sizeof(*rows));
	const double *y = has_test ? job->test_y : job->y;
	struct mmq_frame view;

	*y_out = NULL;
	if (mmq_model_view(mmq_model_schema(job->model), has_test ? &job->test_frame : &job->frame, &view, err) == -1) {
		free(rows);
		return -1;
	}
	if (!has_test && !held)
		mmq_buf_printf(&job->warnings, "permutation importance was measured on training rows: none were held out\n");
	shuffle(rows, count, &rng);
	for (size_t i = 0; i < count; i++)
		rows[i] = has_test ? rows[i] : from[rows[i]];
	count = count < job->request.importance_rows_max ? count : job->request.importance_rows_max;
	frame->rows = count;
	frame->columns = mmq_arena_get(&frame->arena, view.columns_count * sizeof(*frame->columns));
	for (size_t c = 0; c < view.columns_count; c++)
		frame->columns[frame->columns_count++] = gather(frame, &view.columns[c], rows, count);
	*y_out = mmq_array(count, sizeof(double));
	for (size_t i = 0; i < count; i++)
		(*y_out)[i] = y[rows[i]];
	mmq_frame_fini(&view);
	free(rows);
	return 0;
}

int
mmq_job_importance(struct mmq_job *job, struct mmq_err *err)
{
	struct mmq_frame frame;
	double *y = NULL;
	int result = -1;

	if (job->request.importance_repeats == 0)
		return 0;
	if (job->task == MMQ_ONE_CLASS || mmq_model_schema(job->model)->sparse_cols > 0)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "importance", "a target and columns that are not sparse", job->task == MMQ_ONE_CLASS ?
		    "task one_class" : "sparse data");
	mmq_frame_init(&frame);
	if (take_rows(job, &frame, &y, err) == -1 || measure(job, &frame, y, &job->importance_score, err) == -1)
		goto out;
	job->importance_rows = frame.rows;
	job->importance = mmq_array(frame.columns_count, sizeof(*job->importance));
	for (size_t c = 0; c < frame.columns_count; c++) {
		mmq_job_report(job, (double)c / (double)frame.columns_count, NULL);
		if (one_column(job, &frame, c, y, job->importance_score, &job->importance[c], err) == -1)
			goto out;
	}
	result = 0;
out:
	free(y);
	mmq_frame_fini(&frame);
	return result;
}

void
mmq_job_put_importance(const struct mmq_job *job, struct mmq_buf *out)
{
	const struct mmq_schema *schema = mmq_model_schema(job->model);
	struct mmq_map map = mmq_map_begin(out);

	mmq_map_text(&map, "metric", mmq_metric_name(job->task == MMQ_REGRESSION ? MMQ_R2 : MMQ_ACCURACY));
	mmq_map_double(&map, "score", job->importance_score);
	mmq_map_int(&map, "rows", (int64_t)job->importance_rows);
	mmq_map_int(&map, "repeats", job->request.importance_repeats);
	mmq_put_array(mmq_map_key(&map, "columns"), schema->fields_count);
	for (size_t c = 0; c < schema->fields_count; c++) {
		struct mmq_map column = mmq_map_begin(out);
		mmq_map_text(&column, "name", schema->fields[c].name);
		mmq_map_double(&column, "mean", job->importance[c].mean);
		mmq_map_double(&column, "std", job->importance[c].deviation);
		mmq_map_end(&column);
	}
	mmq_map_end(&map);
}
