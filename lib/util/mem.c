/* mem.c: checked allocation and a block arena. */
#include "util/mem.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ALIGN = 64, BLOCK_BYTES_MIN = 4096, PIECE_ALIGN = 16, HUGE_PAGE = 2 << 20 };

struct mmq_arena_block {
	struct mmq_arena_block *next;
	size_t size, used;
	_Alignas(16) unsigned char bytes[];
};

static void *
must(void *memory, size_t bytes)
{
	if (memory == NULL) {
		fprintf(stderr, "modelmq: out of memory for %zu bytes\n", bytes);
		abort();
	}
	return memory;
}

bool
mmq_size_mul(size_t a, size_t b, size_t *product_out)
{
	return !__builtin_mul_overflow(a, b, product_out);
}

void *
mmq_alloc(size_t bytes)
{
	return must(calloc(1, bytes > 0 ? bytes : 1), bytes);
}

void *
mmq_try_array(size_t count, size_t size)
{
	size_t bytes;
	return mmq_size_mul(count, size, &bytes) ? calloc(1, bytes > 0 ? bytes : 1) : NULL;
}

void *
mmq_array(size_t count, size_t size)
{
	return must(mmq_try_array(count, size), count);
}

void *
mmq_grow(void *old, size_t count, size_t size)
{
	size_t bytes;
	if (!mmq_size_mul(count, size, &bytes))
		return must(NULL, SIZE_MAX);
	return must(realloc(old, bytes > 0 ? bytes : 1), bytes);
}

void *
mmq_try_aligned(size_t bytes)
{
	if (bytes > SIZE_MAX - ALIGN)
		return NULL;
	size_t padded = (bytes + ALIGN - 1) / ALIGN * ALIGN;
	void *memory = aligned_alloc(ALIGN, padded > 0 ? padded : ALIGN);
	if (memory != NULL)
		memset(memory, 0, padded);
	return memory;
}

void *
mmq_aligned(size_t bytes)
{
	return must(mmq_try_aligned(bytes), bytes);
}

void *
mmq_aligned_huge(size_t bytes)
{
	if (bytes < HUGE_PAGE / 2 || bytes > SIZE_MAX - HUGE_PAGE)
		return mmq_aligned(bytes);
	size_t padded = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
	void *memory = must(aligned_alloc(HUGE_PAGE, padded), padded);
	(void)madvise(memory, padded, MADV_HUGEPAGE);  /* advice: without it the pages are small, nothing else */
	memset(memory, 0, padded);
	return memory;
}

char *
mmq_strndup(const char *text, size_t length)
{
	char *copy = mmq_alloc(length + 1);
	memcpy(copy, text, length);
	return copy;
}

char *
mmq_strdup(const char *text)
{
	return mmq_strndup(text, strlen(text));
}

void
mmq_arena_init(struct mmq_arena *arena)
{
	*arena = (struct mmq_arena){ 0 };
}

void *
mmq_arena_get(struct mmq_arena *arena, size_t bytes)
{
	struct mmq_arena_block *block = arena->blocks;
	if (bytes > SIZE_MAX / 2)
		return must(NULL, bytes);
	size_t need = (bytes + PIECE_ALIGN - 1) / PIECE_ALIGN * PIECE_ALIGN;

	if (block == NULL || block->size - block->used < need) {
		size_t size = block == NULL ? BLOCK_BYTES_MIN : block->size * 2;
		if (size < need)
			size = need;
		block = must(malloc(sizeof(*block) + size), size);
		*block = (struct mmq_arena_block){ .next = arena->blocks, .size = size };
		arena->blocks = block;
	}
	void *piece = block->bytes + block->used;
	block->used += need;
	arena->used_bytes += need;
	return piece;
}

char *
mmq_arena_strndup(struct mmq_arena *arena, const char *text, size_t length)
{
	char *copy = mmq_arena_get(arena, length + 1);
	if (length > 0)
		memcpy(copy, text, length);
	copy[length] = '\0';
	return copy;
}

void
mmq_arena_reset(struct mmq_arena *arena)
{
	/* The newest block is the largest, since each one doubles: keep that one. */
	if (arena->blocks != NULL) {
		struct mmq_arena_block *old = arena->blocks->next;
		while (old != NULL) {
			struct mmq_arena_block *next = old->next;
			free(old);
			old = next;
		}
		arena->blocks->next = NULL;
		arena->blocks->used = 0;
	}
	arena->used_bytes = 0;
}

void
mmq_arena_fini(struct mmq_arena *arena)
{
	mmq_arena_reset(arena);
	free(arena->blocks);
	arena->blocks = NULL;
}
