/* batch.c: the dual problem by batched working sets.
 *
 * Each round takes half a working set of the worst violators, keeps the newest half of the last one, computes the kernel rows that are
 * missing together, solves the small problem (local.c) and adds what moved to g of all rows in one pass. So kernel rows come from
 * a matrix product, and g is read and written once per round instead of once per step. The scheme of LibSVM-GPU and ThunderSVM (Wen and
 * others 2018); the stop is LIBSVM's, on all variables. g stays in double: moves times kernel values add up without drift. With kernel rows in
 * double the small problems still run in single precision: g corrects them round by round, as iterative refinement does. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/svm/dual.h"
#include "engine/svm/local.h"
#include "engine/svm/worst.h"
#include "util/mem.h"

enum { SET_SIZE = 512, SET_WHOLE = 1024, SET_FIRST = 64, UPDATE_COLUMNS = 1024, NONE = UINT32_MAX, SETTLED_ROUNDS = 8, SETTLED_GAP = 10 };

struct batch {
	const struct svm_problem *problem;
	const struct svm_rowset *set_of_rows;
	struct svm_filler *filler;
	struct svm_local local;
	double *alpha, *g;
	bool wide;
	size_t set_max;           /* slots of one group; groups are one after the other in local */
	size_t slots;             /* of all groups */
	size_t take_max;          /* new members of a round: few at first, when little is known of which rows matter */
	uint32_t *set;            /* (slots) the variable in each slot */
	uint32_t *age;            /* (slots) round in which the slot was filled */
	uint32_t *place;          /* (variables) its slot + 1; 0: not in the set */
	size_t *members;          /* (slots) slots in use, ascending */
	size_t members_count;
	size_t *member_of;        /* (slots) index of a slot in members */
	size_t *places;           /* (slots) places of the members' rows in the cache */
	const void **rows;        /* (slots, pieces) kernel rows of the members */
	struct svm_worst up, low;
	const void **moved_rows;  /* (slots + 4, pieces) rows and amounts of the pass over g */
	double *moved;
	size_t moved_count;
};

static size_t
segment_rows(const struct batch *batch, size_t piece)
{
	const size_t *start = batch->set_of_rows->segment_start + batch->problem->piece[piece];
	return start[1] - start[0];
}

/* The place in the cache of a row of the problem. */
static size_t
place_of(const struct batch *batch, size_t row)
{
	size_t piece = 0;
	while (row >= segment_rows(batch, piece))
		row -= segment_rows(batch, piece++);
	return batch->set_of_rows->segment_start[batch->problem->piece[piece]] + row;
}

static void
get_rows(struct batch *batch, size_t count)
{
	const struct svm_problem *problem = batch->problem;
	for (size_t piece = 0; piece < problem->pieces; piece++)
		svm_rowcache_get(problem->cache, batch->filler, problem->pool, batch->places, count, problem->piece[piece], batch->rows + piece,
		    problem->pieces);
}

static void
put_slot(struct batch *batch, size_t slot, uint32_t variable, uint32_t round)
{
	if (batch->set[slot] != NONE)
		batch->place[batch->set[slot]] = 0;
	batch->set[slot] = variable;
	batch->age[slot] = round;
	batch->place[variable] = (uint32_t)slot + 1;
}

/* One group's violators outside the half that stays, to the heaps. */
static void
find_violators(struct batch *batch, size_t group, const struct svm_ends *ends, uint32_t round)
{
	const struct svm_problem *problem = batch->problem;

	batch->up.count = batch->low.count = 0;
	for (size_t v = 0; v < problem->variables; v++) {
		if (svm_group(problem, v) != group || (batch->place[v] != 0 && batch->age[batch->place[v] - 1] + 1 >= round))
			continue;
		double f = svm_f(problem, batch->g, v);
		if (f < ends->highest && svm_room_up(problem, batch->alpha, v) > 0)
			svm_worst_offer(&batch->up, -f, (uint32_t)v);
		if (f > ends->lowest && svm_room_low(problem, batch->alpha, v) > 0)
			svm_worst_offer(&batch->low, f, (uint32_t)v);
	}
	svm_worst_sort(&batch->up);
	svm_worst_sort(&batch->low);
}

/* Violators take slots of their group that are empty or old; an old member among them keeps its own. Appends the slots with a new variable
 * to fresh; returns how many there are now. */
static size_t
choose(struct batch *batch, size_t group, const struct svm_ends *ends, uint32_t round, uint32_t *fresh, size_t count)
{
	size_t slot = group * batch->set_max, end = slot + batch->set_max, up = 0, low = 0, taken = 0, before = count;
	size_t take = batch->set[slot] == NONE ? batch->set_max : batch->set_max / 2;
	take = take < batch->take_max ? take : batch->take_max;

	find_violators(batch, group, ends, round);
	while (taken < take && (up < batch->up.count || low < batch->low.count)) {
		bool from_up = low >= batch->low.count || (up < batch->up.count && up <= low);
		uint32_t v = from_up ? batch->up.variable[up++] : batch->low.variable[low++];
		if (batch->place[v] != 0) {   /* met before, or an old member that stays where it is */
			taken += batch->age[batch->place[v] - 1] + 1 < round;
			batch->age[batch->place[v] - 1] = round;
			continue;
		}
		while (slot < end && batch->set[slot] != NONE && batch->age[slot] + 1 >= round)
			slot++;
		if (slot == end)
			break;
		/* The first set is all new: half of it counts as older, so that the next round has slots to fill. */
		put_slot(batch, slot, v, count - before < batch->set_max / 2 ? round : round - 1);
		fresh[count++] = (uint32_t)slot++;
		taken++;
	}
	return count;
}

static float
value_at(const struct batch *batch, const void *const *row, size_t at)
{
	size_t piece = 0;
	while (at >= segment_rows(batch, piece))
		at -= segment_rows(batch, piece++);
	return batch->wide ? (float)((const double *)row[piece])[at] : ((const float *)row[piece])[at];
}

/* Kernel values of a new member with all members, whichever form and piece they are in. */
static void
fill_kernel_row(struct batch *batch, size_t slot, const void *const *row)
{
	const struct svm_problem *problem = batch->problem;
	float *kernel = batch->local.kernel + slot * batch->local.stride;

	if (problem->pieces == 1 && !batch->wide) {
		const float *values = row[0];
		for (size_t k = 0; k < batch->members_count; k++)
			kernel[batch->members[k]] = values[svm_row(problem, batch->set[batch->members[k]])];
		return;
	}
	for (size_t k = 0; k < batch->members_count; k++)
		kernel[batch->members[k]] = value_at(batch, row, svm_row(problem, batch->set[batch->members[k]]));
}

/* Kernel values between the new members and all; the others' are there from the last round. */
static void
fill_local(struct batch *batch, const uint32_t *fresh, size_t fresh_count, const struct svm_ends *ends)
{
	const struct svm_problem *problem = batch->problem;
	struct svm_local *local = &batch->local;

	batch->members_count = 0;
	for (size_t slot = 0; slot < batch->slots; slot++) {
		if (batch->set[slot] == NONE)
			continue;
		batch->places[batch->members_count] = place_of(batch, svm_row(problem, batch->set[slot]));
		batch->member_of[slot] = batch->members_count;
		batch->members[batch->members_count++] = slot;
	}
	get_rows(batch, batch->members_count);
	for (size_t i = 0; i < fresh_count; i++)
		fill_kernel_row(batch, fresh[i], batch->rows + batch->member_of[fresh[i]] * problem->pieces);
	for (size_t k = 0; k < batch->members_count; k++) {
		size_t slot = batch->members[k];
		for (size_t i = 0; i < fresh_count; i++)
			local->kernel[slot * local->stride + fresh[i]] = local->kernel[fresh[i] * local->stride + slot];
	}
	for (size_t k = 0; k < batch->members_count; k++) {
		size_t slot = batch->members[k];
		uint32_t v = batch->set[slot];
		const struct svm_ends *end = &ends[svm_group(problem, v)];
		local->self[slot] = (float)svm_rowset_self(batch->set_of_rows, batch->places[k]);
		local->f[slot] = (float)(svm_f(problem, batch->g, v) - (end->lowest + end->highest) / 2);
		local->room_up[slot] = svm_room_up(problem, batch->alpha, v);
		local->room_low[slot] = svm_room_low(problem, batch->alpha, v);
		local->block_up[slot] = local->room_up[slot] > 0 ? 0 : INFINITY;
		local->block_low[slot] = local->room_low[slot] > 0 ? 0 : -INFINITY;
		local->moved[slot] = 0;
	}
}

/* Columns of one piece are cut into blocks; blocks of the first piece come first. */
static void
update_block(void *arg, size_t block, unsigned thread)
{
	const struct batch *batch = arg;
	size_t piece = 0, pieces = batch->problem->pieces, g_at = 0;

	(void)thread;
	for (size_t blocks; block >= (blocks = (segment_rows(batch, piece) + UPDATE_COLUMNS - 1) / UPDATE_COLUMNS); block -= blocks)
		g_at += segment_rows(batch, piece++);
	size_t from = block * UPDATE_COLUMNS, end = segment_rows(batch, piece), count = end - from < UPDATE_COLUMNS ? end - from : UPDATE_COLUMNS;
	double *g = batch->g + g_at + from;
	for (size_t m = 0; m < batch->moved_count; m += 4) {
		const void *const *row = batch->moved_rows + m * pieces + piece;
		const double *scale = batch->moved + m;
		if (batch->wide)
			svm_kernel_add_wide(g, count, scale, (const double *)row[0] + from, (const double *)row[pieces] + from,
			    (const double *)row[2 * pieces] + from, (const double *)row[3 * pieces] + from);
		else
			svm_kernel_add(g, count, scale, (const float *)row[0] + from, (const float *)row[pieces] + from,
			    (const float *)row[2 * pieces] + from, (const float *)row[3 * pieces] + from);
	}
}

/* Add moved rows, found by slot in batch->rows, to g. */
static void
note_move(struct batch *batch, size_t k, double amount)
{
	size_t pieces = batch->problem->pieces;
	memcpy(batch->moved_rows + batch->moved_count * pieces, batch->rows + k * pieces, pieces * sizeof(void *));
	batch->moved[batch->moved_count++] = amount;
}

static void
update_g(struct batch *batch)
{
	size_t blocks = 0;
	if (batch->moved_count == 0)
		return;
	while (batch->moved_count % 4 != 0)
		note_move(batch, 0, 0);
	for (size_t piece = 0; piece < batch->problem->pieces; piece++)
		blocks += (segment_rows(batch, piece) + UPDATE_COLUMNS - 1) / UPDATE_COLUMNS;
	mmq_pool_run(batch->problem->pool, blocks, update_block, batch);
	batch->moved_count = 0;
}

/* The moves of the working set to alpha and to g. */
static void
apply(struct batch *batch)
{
	const struct svm_problem *problem = batch->problem;
	const struct svm_local *local = &batch->local;

	for (size_t k = 0; k < batch->members_count; k++) {
		size_t slot = batch->members[k];
		uint32_t v = batch->set[slot];
		bool positive = problem->y[v] > 0;
		if (local->moved[slot] == 0)
			continue;
		/* At a bound the value is set, not computed, so that the sets stay exact. */
		if (local->room_up[slot] <= 0)
			batch->alpha[v] = positive ? problem->upper[v] : 0;
		else if (local->room_low[slot] <= 0)
			batch->alpha[v] = positive ? 0 : problem->upper[v];
		else   /* many small moves round: never past a bound that the rooms say is not reached */
			batch->alpha[v] = fmin(fmax(batch->alpha[v] + problem->y[v] * local->moved[slot], 0), problem->upper[v]);
		note_move(batch, k, local->moved[slot]);
	}
	update_g(batch);
}

static double
known_alpha(const struct svm_problem *problem, size_t v)
{
	return problem->known_alpha == NULL ? 0 : problem->known_alpha[v];
}

/* From what is known of g to g of the start, as many rows at a time as a working set has. False: cancelled. */
static bool
begin_from(struct batch *batch)
{
	const struct svm_problem *problem = batch->problem;
	double *amounts = mmq_array(batch->slots, sizeof(double));
	bool go_on = true;

	memcpy(batch->alpha, problem->start, problem->variables * sizeof(double));
	if (problem->known_g != NULL)
		memcpy(batch->g, problem->known_g, problem->rows * sizeof(double));
	for (size_t row = 0; row < problem->rows && go_on;) {
		size_t count = 0;
		for (; row < problem->rows && count < batch->slots; row++) {
			double amount = 0;
			for (size_t v = row; v < problem->variables; v += problem->rows)
				amount += problem->y[v] * (problem->start[v] - known_alpha(problem, v));
			if (amount == 0)
				continue;
			batch->places[count] = place_of(batch, row);
			amounts[count++] = amount;
		}
		get_rows(batch, count);
		for (size_t k = 0; k < count; k++)
			note_move(batch, k, amounts[k]);
		update_g(batch);
		go_on = problem->report == NULL || problem->report(problem->arg, 0, INFINITY, 0);
	}
	free(amounts);
	return go_on;
}

static void
batch_init(struct batch *batch, const struct svm_problem *problem)
{
	size_t max = problem->variables <= SET_WHOLE ? problem->variables : SET_SIZE, groups = svm_groups(problem);

	/* The rows of a working set have to be in the cache at the same time. */
	while (max > SVM_SET_MIN && max * groups * problem->pieces > svm_rowcache_room(problem->cache))
		max = max / 2 > SVM_SET_MIN ? max / 2 : SVM_SET_MIN;
	*batch = (struct batch){ .problem = problem, .set_of_rows = svm_rowcache_set(problem->cache), .set_max = (max + 7) / 8 * 8 };
	batch->wide = batch->set_of_rows->rows.form.wide;
	batch->slots = batch->set_max * groups;
	batch->filler = svm_filler_new(batch->set_of_rows, batch->slots, problem->lane);
	batch->alpha = mmq_array(problem->variables, sizeof(double));
	batch->g = mmq_array(problem->rows, sizeof(double));
	svm_local_init(&batch->local, batch->slots);
	batch->local.split = batch->set_max;
	batch->set = mmq_array(batch->slots, sizeof(uint32_t));
	batch->age = mmq_array(batch->slots, sizeof(uint32_t));
	batch->place = mmq_array(problem->variables, sizeof(uint32_t));
	batch->members = mmq_array(batch->slots, sizeof(size_t));
	batch->member_of = mmq_array(batch->slots, sizeof(size_t));
	batch->places = mmq_array(batch->slots, sizeof(size_t));
	batch->rows = mmq_array(batch->slots * problem->pieces, sizeof(void *));
	batch->moved_rows = mmq_array((batch->slots + 4) * problem->pieces, sizeof(void *));
	batch->moved = mmq_array(batch->slots + 4, sizeof(double));
	for (struct svm_worst *heap = &batch->up; heap != NULL; heap = heap == &batch->up ? &batch->low : NULL) {
		heap->max = batch->set_max;
		heap->key = mmq_array(heap->max, sizeof(double));
		heap->variable = mmq_array(heap->max, sizeof(uint32_t));
	}
	for (size_t slot = 0; slot < batch->slots; slot++)
		batch->set[slot] = NONE;
}

static void
batch_fini(struct batch *batch, struct svm_solution *solution)
{
	svm_filler_destroy(&batch->filler);
	svm_local_fini(&batch->local);
	free(batch->set);
	free(batch->age);
	free(batch->place);
	free(batch->members);
	free(batch->member_of);
	free(batch->places);
	free(batch->rows);
	free(batch->moved_rows);
	free(batch->moved);
	free(batch->up.key);
	free(batch->up.variable);
	free(batch->low.key);
	free(batch->low.variable);
	svm_finish(batch->problem, batch->alpha, batch->g, solution);
}

void
svm_solve(const struct svm_problem *problem, struct svm_solution *solution)
{
	struct batch batch;
	struct svm_ends ends[2];
	int64_t limit = svm_iterations_max(problem);
	size_t rows_met = 0;

	*solution = (struct svm_solution){ .gap = INFINITY };
	batch_init(&batch, problem);
	uint32_t *fresh = mmq_array(batch.slots, sizeof(*fresh));
	solution->cancelled = problem->start != NULL && !begin_from(&batch);
	for (uint32_t round = 2; !solution->cancelled; round++) {
		solution->gap = svm_violation(problem, batch.alpha, batch.g, ends);
		solution->converged = solution->gap < problem->tol;
		if (solution->converged || solution->iterations >= limit)
			break;
		if (problem->report != NULL &&
		    !problem->report(problem->arg, solution->iterations, solution->gap, svm_count_vectors(problem, batch.alpha))) {
			solution->cancelled = true;
			break;
		}
		if (problem->may_settle && round % SETTLED_ROUNDS == 0 && solution->gap > SETTLED_GAP * problem->tol) {
			size_t active = problem->rows - svm_count_settled(problem, batch.alpha, batch.g, ends);
			solution->has_settled = active <= problem->rows / 2 && active <= rows_met / 2;
			if (solution->has_settled)
				break;
		}
		/* A set of all variables is the problem itself: solve it to the end, in bites so that a cancel is heard. */
		bool whole = batch.set_max >= problem->variables;
		double tol = whole ? problem->tol * 0.5 : fmax(problem->tol * 0.5, solution->gap * 0.1);
		int64_t bite = (int64_t)batch.slots * (whole ? 1000 : 100), left = limit - solution->iterations;
		size_t fresh_count = 0;
		batch.take_max = whole ? SIZE_MAX : round < 8 ? (size_t)SET_FIRST << (round - 2) : SIZE_MAX;
		for (size_t group = 0; group < svm_groups(problem); group++)
			fresh_count = choose(&batch, group, &ends[group], round, fresh, fresh_count);
		rows_met += fresh_count;
		fill_local(&batch, fresh, fresh_count, ends);
		int64_t steps = svm_local_solve(&batch.local, tol, bite < left ? bite : left);
		solution->iterations += steps;
		if (steps == 0)
			break;  /* float32 cannot tell the violators apart any more: said as not converged */
		apply(&batch);
	}
	free(fresh);
	batch_fini(&batch, solution);
}
