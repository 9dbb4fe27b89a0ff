/* quantile.c: weighted quantiles of residuals, for the losses whose leaf values they are. Selection instead of sorting: expected linear time. */
#include "engine/tree/loss.h"

bool
mmq_tree_loss_is_quantile(const struct mmq_tree_options *options, double *q_out)
{
	*q_out = options->objective == MMQ_TREE_QUANTILE ? options->alpha : 0.5;
	return options->objective == MMQ_TREE_QUANTILE || options->objective == MMQ_TREE_ABSOLUTE;
}

static double
middle_of_three(double a, double b, double c)
{
	return a < b ? (b < c ? b : a < c ? c : a) : (a < c ? a : b < c ? c : b);
}

/* Items below, at and above the pivot in this order; *below_out, *upto_out: where the second and third part begin. */
static void
part_in_three(struct mmq_tree_weighted *items, size_t count, double pivot, size_t *below_out, size_t *upto_out)
{
	size_t low = 0, at = 0, high = count;
	while (at < high) {
		struct mmq_tree_weighted item = items[at];
		if (item.value < pivot) {
			items[at++] = items[low];
			items[low++] = item;
		} else if (item.value > pivot) {
			items[at] = items[--high];
			items[high] = item;
		} else {
			at++;
		}
	}
	*below_out = low;
	*upto_out = high;
}

static double
smallest_of(const struct mmq_tree_weighted *items, size_t count, double otherwise)
{
	double least = count > 0 ? items[0].value : otherwise;
	for (size_t i = 1; i < count; i++)
		least = items[i].value < least ? items[i].value : least;
	return least;
}

double
mmq_tree_quantile(struct mmq_tree_weighted *items, size_t count, double q)
{
	double total = 0, before = 0, next = 0;
	size_t end = count, from = 0;
	for (size_t i = 0; i < count; i++)
		total += items[i].weight;
	double wanted = q * total;
	/* The answer is in [from, end); `before` is the weight in front of it; the smallest value behind it is in [end, count) if end < count. */
	while (true) {
		size_t below, upto, n = end - from;
		double pivot = middle_of_three(items[from].value, items[from + n / 2].value, items[end - 1].value), less = 0, equal = 0;
		part_in_three(items + from, n, pivot, &below, &upto);
		for (size_t i = from; i < from + below; i++)
			less += items[i].weight;
		for (size_t i = from + below; i < from + upto; i++)
			equal += items[i].weight;
		if (below > 0 && before + less >= wanted) {
			end = from + below;
			next = pivot;
			continue;
		}
		if (before + less + equal < wanted && from + upto < end) {
			before += less + equal;
			from += upto;
			continue;
		}
		if (before + less + equal > wanted || (from + upto == end && end == count))
			return pivot;
		return (pivot + smallest_of(items + from + upto, end - from - upto, next)) / 2;
	}
}

double
mmq_tree_loss_residual(const struct mmq_tree_target *target, const double *score, const uint32_t *index, size_t count,
    struct mmq_tree_weighted *temp)
{
	double q;
	mmq_tree_loss_is_quantile(target->options, &q);
	for (size_t i = 0; i < count; i++) {
		size_t r = index != NULL ? index[i] : i;
		temp[i] = (struct mmq_tree_weighted){ target->y[r] - score[r], target->weight != NULL ? (double)target->weight[r] : 1.0 };
	}
	return mmq_tree_quantile(temp, count, q);
}
