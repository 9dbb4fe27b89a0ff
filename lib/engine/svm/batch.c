/* batch.c: the dual problem by batched working sets.
 *
 * Each round takes half a working set of the worst violators, keeps the newest half of the last one, computes the kernel rows that are
 * missing together, solves the small problem (local.c) and adds what moved to g of all rows in one pass. So kernel rows come from
 * a matrix product, and g is read and written once per round instead of once per step. The scheme of LibSVM-GPU and ThunderSVM (Wen and
 * others 2018); the stop is LIBSVM's, on all variables. g stays in double: moves times kernel values add up without drift. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/svm/dual.h"
#include "engine/svm/local.h"
#include "engine/svm/rowcache.h"
#include "util/mem.h"

enum { SET_SIZE = 512, SET_WHOLE = 1024, UPDATE_COLUMNS = 1024, NONE = UINT32_MAX };

/* One end of the order of f: a bounded heap whose root is the least violating of those kept. */
struct worst {
	double *key;         /* larger violates more */
	uint32_t *variable;
	size_t count, max;
};

struct batch {
	struct svm_dual dual;
	struct svm_rowcache *cache;
	struct svm_local local;
	size_t set_max;
	uint32_t *set;            /* (set_max) the variable in each slot */
	uint32_t *age;            /* (set_max) round in which the slot was filled */
	uint32_t *place;          /* (variables) its slot + 1; 0: not in the set */
	size_t *set_rows;         /* (set_max) */
	const float **rows;       /* (set_max) kernel rows of the slots */
	struct worst up, low;
	const float **moved_rows; /* (set_max) rows and amounts of the pass over g */
	double *moved;
	size_t moved_count;
};

static bool
is_before(const struct worst *heap, size_t a, size_t b)
{
	return heap->key[a] < heap->key[b] || (heap->key[a] == heap->key[b] && heap->variable[a] > heap->variable[b]);
}

static void
heap_swap(struct worst *heap, size_t a, size_t b)
{
	double key = heap->key[a];
	uint32_t variable = heap->variable[a];
	heap->key[a] = heap->key[b];
	heap->variable[a] = heap->variable[b];
	heap->key[b] = key;
	heap->variable[b] = variable;
}

static void
heap_sink(struct worst *heap, size_t at)
{
	for (;;) {
		size_t least = at, child = 2 * at + 1;
		if (child < heap->count && is_before(heap, child, least))
			least = child;
		if (child + 1 < heap->count && is_before(heap, child + 1, least))
			least = child + 1;
		if (least == at)
			return;
		heap_swap(heap, at, least);
		at = least;
	}
}

static void
heap_offer(struct worst *heap, double key, uint32_t variable)
{
	if (heap->count < heap->max) {
		size_t at = heap->count++;
		heap->key[at] = key;
		heap->variable[at] = variable;
		for (; at > 0 && is_before(heap, at, (at - 1) / 2); at = (at - 1) / 2)
			heap_swap(heap, at, (at - 1) / 2);
	} else if (key > heap->key[0]) {
		heap->key[0] = key;
		heap->variable[0] = variable;
		heap_sink(heap, 0);
	}
}

/* Leaves the kept ones in order, the worst violator first. */
static void
heap_sort(struct worst *heap)
{
	size_t count = heap->count;
	while (heap->count > 1) {
		heap->count--;
		heap_swap(heap, 0, heap->count);
		heap_sink(heap, 0);
	}
	heap->count = count;
}

/* The largest violation over all variables, and its two ends. */
static double
gap_of_all(const struct svm_dual *dual, double *lowest_out, double *highest_out)
{
	double lowest = INFINITY, highest = -INFINITY;
	for (size_t v = 0; v < dual->problem->variables; v++) {
		double f = svm_dual_f(dual, v);
		if (f < lowest && svm_dual_room_up(dual, v) > 0)
			lowest = f;
		if (f > highest && svm_dual_room_low(dual, v) > 0)
			highest = f;
	}
	*lowest_out = lowest;
	*highest_out = highest;
	return highest > lowest ? highest - lowest : 0;
}

static void
put_slot(struct batch *batch, size_t slot, uint32_t variable, uint32_t round)
{
	if (batch->set[slot] != NONE)
		batch->place[batch->set[slot]] = 0;
	batch->set[slot] = variable;
	batch->age[slot] = round;
	batch->place[variable] = (uint32_t)slot + 1;
	if (slot >= batch->local.size)
		batch->local.size = slot + 1;
}

/* Violators outside the half that stays take slots that are empty or old; an old member among them keeps its own. Returns how many
 * slots have a new variable, in fresh. */
static size_t
choose(struct batch *batch, double lowest, double highest, uint32_t round, uint32_t *fresh)
{
	const struct svm_dual *dual = &batch->dual;
	size_t take = batch->local.size == 0 ? batch->set_max : batch->set_max / 2, taken = 0, count = 0;

	batch->up.count = batch->low.count = 0;
	for (size_t v = 0; v < dual->problem->variables; v++) {
		if (batch->place[v] != 0 && batch->age[batch->place[v] - 1] + 1 >= round)
			continue;
		double f = svm_dual_f(dual, v);
		if (f < highest && svm_dual_room_up(dual, v) > 0)
			heap_offer(&batch->up, -f, (uint32_t)v);
		if (f > lowest && svm_dual_room_low(dual, v) > 0)
			heap_offer(&batch->low, f, (uint32_t)v);
	}
	heap_sort(&batch->up);
	heap_sort(&batch->low);
	size_t slot = 0, up = 0, low = 0;
	while (taken < take && (up < batch->up.count || low < batch->low.count)) {
		bool from_up = low >= batch->low.count || (up < batch->up.count && up <= low);
		uint32_t v = from_up ? batch->up.variable[up++] : batch->low.variable[low++];
		if (batch->place[v] != 0) {   /* met before, or an old member that stays where it is */
			taken += batch->age[batch->place[v] - 1] + 1 < round;
			batch->age[batch->place[v] - 1] = round;
			continue;
		}
		while (slot < batch->set_max && batch->set[slot] != NONE && batch->age[slot] + 1 >= round)
			slot++;
		if (slot == batch->set_max)
			break;
		/* The first set is all new: half of it counts as older, so that the next round has slots to fill. */
		put_slot(batch, slot, v, count < batch->set_max / 2 ? round : round - 1);
		fresh[count++] = (uint32_t)slot++;
		taken++;
	}
	return count;
}

/* Kernel values between the new members and all; the others' are there from the last round. */
static void
fill_local(struct batch *batch, const uint32_t *fresh, size_t fresh_count, double middle)
{
	struct svm_local *local = &batch->local;
	const struct svm_dual *dual = &batch->dual;

	for (size_t slot = 0; slot < local->size; slot++)
		batch->set_rows[slot] = svm_dual_row(dual, batch->set[slot]);
	svm_rowcache_get(batch->cache, batch->set_rows, local->size, batch->rows);
	for (size_t i = 0; i < fresh_count; i++) {
		size_t slot = fresh[i];
		float *kernel = local->kernel + slot * local->stride;
		for (size_t k = 0; k < local->size; k++)
			kernel[k] = batch->rows[slot][batch->set_rows[k]];
	}
	for (size_t k = 0; k < local->size; k++)
		for (size_t i = 0; i < fresh_count; i++)
			local->kernel[k * local->stride + fresh[i]] = local->kernel[fresh[i] * local->stride + k];
	for (size_t slot = 0; slot < local->size; slot++) {
		uint32_t v = batch->set[slot];
		local->self[slot] = dual->self[batch->set_rows[slot]];
		local->f[slot] = (float)(svm_dual_f(dual, v) - middle);
		local->room_up[slot] = svm_dual_room_up(dual, v);
		local->room_low[slot] = svm_dual_room_low(dual, v);
		local->block_up[slot] = local->room_up[slot] > 0 ? 0 : INFINITY;
		local->block_low[slot] = local->room_low[slot] > 0 ? 0 : -INFINITY;
		local->moved[slot] = 0;
	}
}

static void
update_block(void *arg, size_t block, unsigned thread)
{
	const struct batch *batch = arg;
	size_t from = block * UPDATE_COLUMNS, end = batch->dual.problem->rows->panels * SVM_PANEL;
	size_t count = end - from < UPDATE_COLUMNS ? end - from : UPDATE_COLUMNS;
	double *g = batch->dual.g + from;

	(void)thread;
	for (size_t m = 0; m < batch->moved_count; m += 4) {
		const float *a = batch->moved_rows[m] + from, *b = batch->moved_rows[m + 1] + from;
		const float *c = batch->moved_rows[m + 2] + from, *d = batch->moved_rows[m + 3] + from;
		svm_kernel_add(g, count, batch->moved + m, a, b, c, d);
	}
}

/* The moves of the working set to alpha and to g. */
static void
apply(struct batch *batch)
{
	const struct svm_problem *problem = batch->dual.problem;
	const struct svm_local *local = &batch->local;

	batch->moved_count = 0;
	for (size_t slot = 0; slot < local->size; slot++) {
		uint32_t v = batch->set[slot];
		bool positive = problem->y[v] > 0;
		if (local->moved[slot] == 0)
			continue;
		/* At a bound the value is set, not computed, so that the sets stay exact. */
		if (local->room_up[slot] <= 0)
			batch->dual.alpha[v] = positive ? problem->upper[v] : 0;
		else if (local->room_low[slot] <= 0)
			batch->dual.alpha[v] = positive ? 0 : problem->upper[v];
		else   /* many small moves round: never past a bound that the rooms say is not reached */
			batch->dual.alpha[v] = fmin(fmax(batch->dual.alpha[v] + problem->y[v] * local->moved[slot], 0), problem->upper[v]);
		batch->moved_rows[batch->moved_count] = batch->rows[slot];
		batch->moved[batch->moved_count++] = local->moved[slot];
	}
	for (; batch->moved_count % 4 != 0; batch->moved_count++) {
		batch->moved_rows[batch->moved_count] = batch->rows[0];
		batch->moved[batch->moved_count] = 0;
	}
	size_t columns = problem->rows->panels * SVM_PANEL;
	mmq_pool_run(problem->pool, (columns + UPDATE_COLUMNS - 1) / UPDATE_COLUMNS, update_block, batch);
}

static void
batch_init(struct batch *batch, const struct svm_problem *problem)
{
	size_t row_bytes = problem->rows->panels * SVM_PANEL * sizeof(float), max = problem->variables <= SET_WHOLE ? problem->variables : SET_SIZE;

	*batch = (struct batch){ 0 };
	/* A working set has to fit the budget for kernel rows, down to a size that still makes sense. */
	while (max > 64 && max / 2 * row_bytes > problem->cache_bytes)
		max /= 2;
	batch->set_max = max < 2 ? 2 : max;
	svm_dual_init(&batch->dual, problem);
	batch->cache = svm_rowcache_new(&problem->kernel, problem->rows, problem->cache_bytes, batch->set_max, problem->pool);
	svm_local_init(&batch->local, batch->set_max);
	batch->set = mmq_array(batch->set_max, sizeof(uint32_t));
	batch->age = mmq_array(batch->set_max, sizeof(uint32_t));
	batch->place = mmq_array(problem->variables, sizeof(uint32_t));
	batch->set_rows = mmq_array(batch->set_max, sizeof(size_t));
	batch->rows = mmq_array(batch->set_max, sizeof(float *));
	batch->moved_rows = mmq_array(batch->set_max + 4, sizeof(float *));
	batch->moved = mmq_array(batch->set_max + 4, sizeof(double));
	for (struct worst *heap = &batch->up; heap != NULL; heap = heap == &batch->up ? &batch->low : NULL) {
		heap->max = batch->set_max;
		heap->key = mmq_array(heap->max, sizeof(double));
		heap->variable = mmq_array(heap->max, sizeof(uint32_t));
	}
	for (size_t slot = 0; slot < batch->set_max; slot++)
		batch->set[slot] = NONE;
}

static void
batch_fini(struct batch *batch, struct svm_solution *solution)
{
	svm_rowcache_destroy(&batch->cache);
	svm_local_fini(&batch->local);
	free(batch->set);
	free(batch->age);
	free(batch->place);
	free(batch->set_rows);
	free(batch->rows);
	free(batch->moved_rows);
	free(batch->moved);
	free(batch->up.key);
	free(batch->up.variable);
	free(batch->low.key);
	free(batch->low.variable);
	svm_dual_fini(&batch->dual, solution);
}

void
svm_solve(const struct svm_problem *problem, struct svm_solution *solution)
{
	struct batch batch;
	int64_t limit = svm_dual_iterations_max(problem);

	*solution = (struct svm_solution){ .gap = INFINITY };
	batch_init(&batch, problem);
	uint32_t *fresh = mmq_array(batch.set_max, sizeof(*fresh));
	for (uint32_t round = 2;; round++) {
		double lowest, highest;
		solution->gap = gap_of_all(&batch.dual, &lowest, &highest);
		if (solution->gap < problem->tol) {
			solution->converged = true;
			break;
		}
		if (solution->iterations >= limit)
			break;
		if (problem->report != NULL && !problem->report(problem->arg, solution->iterations, solution->gap)) {
			solution->cancelled = true;
			break;
		}
		/* A set of all variables is the problem itself: solve it to the end, in bites so that a cancel is heard. */
		bool whole = batch.set_max >= problem->variables;
		double tol = whole ? problem->tol * 0.5 : fmax(problem->tol * 0.5, solution->gap * 0.1);
		int64_t bite = (int64_t)batch.set_max * (whole ? 1000 : 100), left = limit - solution->iterations;
		size_t fresh_count = choose(&batch, lowest, highest, round, fresh);
		fill_local(&batch, fresh, fresh_count, (lowest + highest) / 2);
		int64_t steps = svm_local_solve(&batch.local, tol, bite < left ? bite : left);
		solution->iterations += steps;
		if (steps == 0)
			break;  /* float32 cannot tell the violators apart any more: said as not converged */
		apply(&batch);
	}
	free(fresh);
	batch_fini(&batch, solution);
}
