/* sums.c: dot products between a block of queries and rows that are sparse, or in double precision. */
#include <math.h>
#include <string.h>

#include "engine/svm/rows.h"
#include "math/cpu.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define AVX2 __attribute__((target("avx2,fma")))
#define AVX512 __attribute__((target("avx512f,avx2,fma")))
#endif

enum { LANES = 16 };

/* sums (LANES) of one sparse row with all queries; the block has LANES queries to a column. */
static void
sparse_row_portable(const struct svm_rows *rows, size_t row, const float *block, float *sums)
{
	const float *values = rows->values;
	memset(sums, 0, LANES * sizeof(*sums));
	for (uint64_t k = rows->start[row]; k < rows->start[row + 1]; k++)
		for (size_t q = 0; q < LANES; q++)
			sums[q] = fmaf(values[k], block[(size_t)rows->col[k] * LANES + q], sums[q]);
}

#if defined(__x86_64__)
AVX2 static void
sparse_row_avx2(const struct svm_rows *rows, size_t row, const float *block, float *sums)
{
	const float *values = rows->values;
	__m256 low = _mm256_setzero_ps(), high = low;
	for (uint64_t k = rows->start[row]; k < rows->start[row + 1]; k++) {
		const float *at = block + (size_t)rows->col[k] * LANES;
		__m256 value = _mm256_set1_ps(values[k]);
		low = _mm256_fmadd_ps(value, _mm256_load_ps(at), low);
		high = _mm256_fmadd_ps(value, _mm256_load_ps(at + 8), high);
	}
	_mm256_store_ps(sums, low);
	_mm256_store_ps(sums + 8, high);
}

/* Sixteen rows (each one register of sixteen queries), turned over: out[q * out_stride + r]. */
AVX512 static void
sparse_panel_avx512(const struct svm_rows *rows, size_t row, const float *block, float *out, size_t out_stride)
{
	const float *values = rows->values;
	__m512 sum[LANES], half[LANES];

	for (size_t r = 0; r < LANES; r++) {
		sum[r] = _mm512_setzero_ps();
		for (uint64_t k = rows->start[row + r]; k < rows->start[row + r + 1]; k++)
			sum[r] = _mm512_fmadd_ps(_mm512_set1_ps(values[k]), _mm512_load_ps(block + (size_t)rows->col[k] * LANES), sum[r]);
	}
	for (size_t r = 0; r < LANES; r += 2) {
		half[r] = _mm512_unpacklo_ps(sum[r], sum[r + 1]);
		half[r + 1] = _mm512_unpackhi_ps(sum[r], sum[r + 1]);
	}
	for (size_t r = 0; r < LANES; r += 4) {
		for (size_t k = 0; k < 2; k++) {
			__m512d a = _mm512_castps_pd(half[r + k]), b = _mm512_castps_pd(half[r + 2 + k]);
			sum[r + 2 * k] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
			sum[r + 2 * k + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
		}
	}
	/* sum[4 g + c], 128-bit lane l: query 4 l + c of rows 4 g .. 4 g + 3. */
	for (size_t c = 0; c < 4; c++) {
		__m512 low = _mm512_shuffle_f32x4(sum[c], sum[4 + c], 0x44), high = _mm512_shuffle_f32x4(sum[c], sum[4 + c], 0xee);
		__m512 low2 = _mm512_shuffle_f32x4(sum[8 + c], sum[12 + c], 0x44), high2 = _mm512_shuffle_f32x4(sum[8 + c], sum[12 + c], 0xee);
		_mm512_storeu_ps(out + c * out_stride, _mm512_shuffle_f32x4(low, low2, 0x88));
		_mm512_storeu_ps(out + (4 + c) * out_stride, _mm512_shuffle_f32x4(low, low2, 0xdd));
		_mm512_storeu_ps(out + (8 + c) * out_stride, _mm512_shuffle_f32x4(high, high2, 0x88));
		_mm512_storeu_ps(out + (12 + c) * out_stride, _mm512_shuffle_f32x4(high, high2, 0xdd));
	}
}
#endif

/* A single query: its block is its own dense vector. */
static void
sparse_single(const struct svm_rows *rows, const float *query, size_t from_row, size_t count, float *out)
{
	const float *values = rows->values;
	for (size_t r = 0; r < count; r++) {
		float sum = 0;
		for (uint64_t k = rows->start[from_row + r]; k < rows->start[from_row + r + 1]; k++)
			sum = fmaf(values[k], query[rows->col[k]], sum);
		out[r] = sum;
	}
}

#if defined(__x86_64__)
AVX2 static void
sparse_single_fma(const struct svm_rows *rows, const float *query, size_t from_row, size_t count, float *out)
{
	const float *values = rows->values;
	for (size_t r = 0; r < count; r++) {
		__m128 sum = _mm_setzero_ps();
		for (uint64_t k = rows->start[from_row + r]; k < rows->start[from_row + r + 1]; k++)
			sum = _mm_fmadd_ss(_mm_load_ss(values + k), _mm_load_ss(query + rows->col[k]), sum);
		out[r] = _mm_cvtss_f32(sum);
	}
}
#endif

void
svm_dots_sparse(const struct svm_rows *rows, const struct svm_queries *queries, size_t from_row, size_t count, float *out, size_t out_stride)
{
	_Alignas(64) float sums[LANES];
	const float *block = queries->values;

#if defined(__x86_64__)
	if (queries->max == 1 && mmq_cpu_has_avx2()) {
		sparse_single_fma(rows, block, from_row, count, out);
		return;
	}
	if (queries->max == LANES && mmq_cpu_has_avx512()) {
		for (size_t r = 0; r < count; r += LANES)
			sparse_panel_avx512(rows, from_row + r, block, out + r, out_stride);
		return;
	}
#endif
	if (queries->max == 1) {
		sparse_single(rows, block, from_row, count, out);
		return;
	}
	for (size_t r = 0; r < count; r++) {
#if defined(__x86_64__)
		if (mmq_cpu_has_avx2())
			sparse_row_avx2(rows, from_row + r, block, sums);
		else
#endif
			sparse_row_portable(rows, from_row + r, block, sums);
		for (size_t q = 0; q < queries->count; q++)
			out[q * out_stride + r] = sums[q];
	}
}

/* Eight lanes of doubles; the compiler makes of it what the target has. Products and sums are not fused: equal bits. */
typedef double lanes8 __attribute__((vector_size(64), aligned(8)));

static inline __attribute__((always_inline)) void
wide_rows(const double *rows, size_t rows_count, const double *const query[4], size_t queries_count, size_t cols, double *out, size_t out_stride)
{
	for (size_t r = 0; r < rows_count; r++, rows += cols) {
		lanes8 sum[4] = { { 0 } };
		double total[4] = { 0 };
		size_t j = 0;
		for (; j + 8 <= cols; j += 8) {
			lanes8 value = *(const lanes8 *)(rows + j);
			for (size_t q = 0; q < queries_count; q++)
				sum[q] += value * *(const lanes8 *)(query[q] + j);
		}
		for (; j < cols; j++)
			for (size_t q = 0; q < queries_count; q++)
				total[q] += rows[j] * query[q][j];
		for (size_t q = 0; q < queries_count; q++) {
			for (size_t lane = 0; lane < 8; lane++)
				total[q] += sum[q][lane];
			out[q * out_stride + r] = total[q];
		}
	}
}

#define WIDE_ROWS(name, attribute)                                                                                                        \
	attribute static void                                                                                                             \
	name(const double *rows, size_t rows_count, const double *const query[4], size_t queries_count, size_t cols, double *out, size_t out_stride) \
	{                                                                                                                                 \
		if (queries_count == 4)                                                                                                   \
			wide_rows(rows, rows_count, query, 4, cols, out, out_stride);                                                     \
		else                                                                                                                      \
			for (size_t q = 0; q < queries_count; q++)                                                                        \
				wide_rows(rows, rows_count, query + q, 1, cols, out + q * out_stride, out_stride);                        \
	}
WIDE_ROWS(wide_rows_portable, )
#if defined(__x86_64__)
WIDE_ROWS(wide_rows_avx2, __attribute__((target("avx2"))))
WIDE_ROWS(wide_rows_avx512, __attribute__((target("avx512f"))))
#endif

void
svm_dots_wide(const struct svm_rows *rows, const struct svm_queries *queries, size_t from_row, size_t count, double *out, size_t out_stride)
{
	const double *values = (const double *)rows->values + from_row * rows->cols, *block = queries->values;

	for (size_t q = 0; q < queries->count; q += 4) {
		size_t some = queries->count - q < 4 ? queries->count - q : 4;
		const double *query[4];
		for (size_t k = 0; k < some; k++)
			query[k] = block + (q + k) * rows->cols;
#if defined(__x86_64__)
		if (mmq_cpu_has_avx512()) {
			wide_rows_avx512(values, count, query, some, rows->cols, out + q * out_stride, out_stride);
			continue;
		}
		if (mmq_cpu_has_avx2()) {
			wide_rows_avx2(values, count, query, some, rows->cols, out + q * out_stride, out_stride);
			continue;
		}
#endif
		wide_rows_portable(values, count, query, some, rows->cols, out + q * out_stride, out_stride);
	}
}

void
svm_dots_wide_sparse(const struct svm_rows *rows, const struct svm_queries *queries, size_t from_row, size_t count, double *out, size_t out_stride)
{
	const double *values = rows->values, *block = queries->values;

	for (size_t r = 0; r < count; r++) {
		double sums[SVM_SPARSE_QUERIES_MAX] = { 0 };
		for (uint64_t k = rows->start[from_row + r]; k < rows->start[from_row + r + 1]; k++)
			for (size_t q = 0; q < queries->max; q++)
				sums[q] += values[k] * block[(size_t)rows->col[k] * queries->max + q];
		for (size_t q = 0; q < queries->count; q++)
			out[q * out_stride + r] = sums[q];
	}
}
