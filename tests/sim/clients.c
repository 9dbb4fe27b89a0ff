/* clients.c: what clients ask for: new requests of all kinds, repeated ones, cancels, questions about jobs. */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/mem.h"

static void
client_send(struct sim *sim, uint32_t index, enum mmq_op op)
{
	struct sim_record *record = &sim->records[index];
	struct mmq_core_event event = { .kind = MMQ_ON_REQUEST };
	struct mmq_core_request *in = &event.request;
	struct mmq_core_query query = { .state = -1 };
	struct mmq_head head = { .op = op, .priority = sim_priority(index), .wait = record->wait, .durable = record->durable };
	char id[24], model[8], job[33];

	snprintf(id, sizeof id, "id-%u", index);
	snprintf(model, sizeof model, "m%u", index % 3);
	head.id.at = id;
	head.id.size = (uint32_t)strlen(id);
	head.model.at = model;
	head.model.size = (uint32_t)strlen(model);
	if (index % 7 == 0 && op == MMQ_OP_PREDICT)
		head.deadline_ms = 1 + index % 50;
	if (op == MMQ_OP_JOB_WAIT || op == MMQ_OP_JOB_GET || op == MMQ_OP_JOB_CANCEL) {
		mmq_job_id_format(record->job, job);
		head.job.at = job;
		head.job.size = 32;
	}
	in->route = 1 + index % 5;
	in->tag = (uint32_t)sim->sends_count;
	in->tenant = sim_is_other_tenant(index) ? "other" : "default";
	if (op == MMQ_OP_MODEL_ALIAS)
		head.version = 1;
	if (record->op != MMQ_OP_PREDICT)
		in->tenant = "default";
	in->head = &head;
	in->query = &query;
	in->body = &sim_body_new(sim, index, record->size)->body;
	memcpy(in->fingerprint, &index, sizeof index);
	for (int i = 0; i < 16; i++)
		in->job[i] = (uint8_t)sim_random(sim, 256);
	sim->sends = mmq_grow(sim->sends, sim->sends_count + 1, sizeof *sim->sends);
	sim->sends[sim->sends_count++] = (struct sim_send){ index, sim->life, (uint8_t)op, 0, false,
		head.deadline_ms != 0 && !record->durable && op == MMQ_OP_PREDICT ? sim->now_us + head.deadline_ms * 1000 : 0 };
	record->sends++;
	sim->totals->deadlines += sim->sends[sim->sends_count - 1].due_us != 0;
	sim_feed(sim, &event);
	if (record->durable || sim->sends[in->tag].answers > 0)
		return;
	sim->sends[in->tag].is_accepted = true;
	if (op == record->op && sim_turn_is_watched(record))
		sim_turn_waits(sim, index);
}

void
sim_client_new(struct sim *sim)
{
	uint64_t dice = sim_random(sim, 100);
	uint32_t index = (uint32_t)sim->records_count, old;
	struct sim_record *record;

	if (dice >= 80 && index > 0) {
		old = (uint32_t)sim_random(sim, index);
		record = &sim->records[old];
		if (dice < 88 && record->durable)
			client_send(sim, old, (enum mmq_op)record->op);          /* the same again */
		else if (dice < 92)
			client_send(sim, old, MMQ_OP_CANCEL);
		else if (record->has_job)
			client_send(sim, old, dice < 95 ? MMQ_OP_JOB_GET : dice < 98 ? MMQ_OP_JOB_WAIT : MMQ_OP_JOB_CANCEL);
		return;
	}
	sim->records = mmq_grow(sim->records, index + 1u, sizeof *sim->records);
	record = &sim->records[sim->records_count++];
	memset(record, 0, sizeof *record);
	record->op = dice < 8 ? MMQ_OP_TRAIN : dice < 10 ? MMQ_OP_MODEL_ALIAS : dice < 12 ? MMQ_OP_MODEL_LIST : MMQ_OP_PREDICT;
	record->durable = dice < 30 && record->op != MMQ_OP_MODEL_LIST;
	record->size = (uint16_t)(sim_chance(sim, 30) ? 3000 : sim_chance(sim, 50) ? 700 : 32);
	record->wait = dice % 4 != 0;
	record->poison = sim_chance(sim, 15);
	client_send(sim, index, (enum mmq_op)record->op);
}
