/* journal_memory.h: the inside of the journal in memory, shared by its commands (journal_memory.c) and reads (journal_memory_read.c). */
#ifndef MMQ_BROKER_JOURNAL_MEMORY_H
#define MMQ_BROKER_JOURNAL_MEMORY_H

#include "broker/journal_inner.h"

struct grant {
	char tenant[MMQ_JOURNAL_TEXT], model[MMQ_JOURNAL_TEXT];
	uint8_t what, job[16];
	uint32_t number;
};

struct setting {
	char key[32], value[96];
};

struct mmq_journal {
	struct mmq_journal_row **rows;
	size_t rows_count, rows_capacity;
	struct grant *grants;
	size_t grants_count, grants_capacity;
	struct setting *settings;
	size_t settings_count;
	struct mmq_journal_event *events;
	size_t events_count, events_capacity;
	uint64_t next;
};

/* journal_memory_read.c */
void memory_read(struct mmq_journal *journal, const struct mmq_journal_read *read);
void memory_add_event(struct mmq_journal *journal, const struct mmq_journal_event *event);
struct mmq_body *memory_copy_body(const struct mmq_body *body);                                /* NULL: NULL */
struct mmq_journal_row memory_copy_row(const struct mmq_journal_row *row, bool with_body, bool with_answer); /* bodies only where asked for */
struct mmq_journal_row *memory_find_seq(const struct mmq_journal *journal, uint64_t seq);
struct mmq_journal_row *memory_find_like(const struct mmq_journal *journal, const struct mmq_journal_row *like, bool by_job);

#endif
