/* store_reply.h: the answers of model.list and model.get, made from cards. */
#ifndef TRAINER_STORE_REPLY_H
#define TRAINER_STORE_REPLY_H

#include "store/store.h"
#include "util/buf.h"
#include "wire/peek.h"
#include "work/work.h"

/* The tenant's models by name, those after `after` ("" : from the first), at most limit. */
int mmq_model_list_reply(struct mmq_buf *out, struct mmq_store *store, const char *tenant, const struct mmq_head *head, const char *after,
    size_t limit, struct mmq_err *err);
/* The version that a request means (item->version, else the header's number or alias, else production, else the latest). NOT_FOUND. */
int mmq_model_choose(struct mmq_store *store, const struct mmq_work_item *item, const struct mmq_head *head, uint32_t *version_out,
    struct mmq_err *err);
/* One model: its versions, aliases, and card, inputs and outputs of the version asked for (item->version, else the header's number or
 * alias, else production, else the latest). */
int mmq_model_get_reply(struct mmq_buf *out, struct mmq_store *store, const struct mmq_work_item *item, const struct mmq_head *head,
    struct mmq_err *err);

#endif
