/* topic.c: the sink's running numbers: n counts gapless per topic within a run. Once a second, while something changed, marks repeat the last
 * n of the changed topics, so that a reader notices a lost message at the end of a stream. A job's topic is forgotten after its last mark. */
#include "broker/core_inner.h"

#include <stdlib.h>

static struct core_topic *
topic_get(struct mmq_core *core, const struct core_tenant *tenant, const char *name)
{
	size_t size = strlen(name), cursor = SIZE_MAX;
	uint64_t hash = core_hash(core, 4, name, size);
	struct core_topic *topic;

	while ((topic = core_table_find(&core->topics, hash, &cursor)) != NULL)
		if (strcmp(topic->name, name) == 0)
			return topic;
	if (core->topics.count >= core->limits.topics_max)
		return NULL;
	topic = mmq_alloc(sizeof *topic);
	memcpy(topic->name, name, size + 1);
	topic->hash = hash;
	topic->tenant = tenant;
	core_table_put(&core->topics, hash, topic);
	return topic;
}

struct mmq_core_publish *
core_publish(struct mmq_core *core, const struct core_tenant *tenant, enum mmq_publish_form form, const char *name, bool last)
{
	struct core_topic *topic = topic_get(core, tenant, name);
	struct mmq_core_publish *publish;

	if (topic == NULL) {
		CORE_COUNT(core, unpublished);
		return NULL;
	}
	if (!topic->is_dirty) {
		topic->is_dirty = true;
		topic->next_dirty = core->dirty_topics;
		core->dirty_topics = topic;
	}
	topic->is_closed |= last;
	if (core->mark.at == 0)
		core_heap_set(&core->timers, &core->mark, core->now_us + MARK_US);
	publish = &core_act(core, MMQ_DO_PUBLISH)->publish;
	publish->form = form;
	publish->topic = mmq_arena_strndup(&core->scratch, name, strlen(name));
	publish->n = ++topic->n;
	CORE_COUNT(core, published);
	return publish;
}

/* One mark holds topics of one tenant. */
static void
mark_one(struct mmq_core *core)
{
	const struct core_tenant *tenant = core->dirty_topics->tenant;
	struct mmq_core_mark *marks = mmq_arena_get(&core->scratch, MARKS_MAX * sizeof *marks);
	struct core_topic **at = &core->dirty_topics, *topic;
	struct mmq_core_action *action;
	size_t count = 0;

	while ((topic = *at) != NULL && count < MARKS_MAX) {
		if (topic->tenant != tenant) {
			at = &topic->next_dirty;
			continue;
		}
		*at = topic->next_dirty;
		topic->is_dirty = false;
		marks[count].topic = mmq_arena_strndup(&core->scratch, topic->name, strlen(topic->name));
		marks[count++].n = topic->n;
		if (topic->is_closed) {
			core_table_remove(&core->topics, topic->hash, topic);
			free(topic);
		}
	}
	action = core_act(core, MMQ_DO_MARK);
	action->mark.tenant = tenant->name;
	action->mark.marks = marks;
	action->mark.count = count;
}

void
core_marks(struct mmq_core *core)
{
	while (core->dirty_topics != NULL)
		mark_one(core);
}

void
core_topic_fini(struct mmq_core *core)
{
	for (size_t i = 0; core->topics.slots != NULL && i <= core->topics.mask; i++)
		free(core->topics.slots[i].value);
}
