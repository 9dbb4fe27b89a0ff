/* fingerprint.c: when two requests under one id mean the same. The pairs are hashed one by one and their hashes sorted, so
 * that key order does not matter (some languages randomise it), and the fields that only say how to treat this sending are
 * left out. The key is the broker's secret: nobody can make two bodies collide on purpose. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "wire/peek.h"
#include "wire/want.h"

static int
compare(const void *a, const void *b)
{
	return memcmp(a, b, MMQ_FINGERPRINT_BYTES);
}

static bool
is_left_out(const struct mmq_text *key)
{
	return mmq_text_is(key, "id") || mmq_text_is(key, "deadline_ms") || mmq_text_is(key, "priority") || mmq_text_is(key, "trace");
}

/* The key's length goes first, so that no byte can move from key to value. */
static void
hash_pair(uint8_t *hash_out, const uint8_t *secret, const struct mmq_text *key, const uint8_t *value, size_t value_size)
{
	crypto_generichash_state state;
	uint8_t key_size[4] = { (uint8_t)(key->size >> 24), (uint8_t)(key->size >> 16), (uint8_t)(key->size >> 8), (uint8_t)key->size };

	crypto_generichash_init(&state, secret, MMQ_FINGERPRINT_KEY_BYTES, MMQ_FINGERPRINT_BYTES);
	crypto_generichash_update(&state, key_size, sizeof(key_size));
	crypto_generichash_update(&state, (const uint8_t *)key->at, key->size);
	crypto_generichash_update(&state, value, value_size);
	crypto_generichash_final(&state, hash_out, MMQ_FINGERPRINT_BYTES);
}

void
mmq_fingerprint(uint8_t hash_out[MMQ_FINGERPRINT_BYTES], const uint8_t key[MMQ_FINGERPRINT_KEY_BYTES], const void *frame, size_t size,
    const void *payload, size_t payload_size)
{
	uint8_t hashes[MMQ_TOP_KEYS_MAX + 1][MMQ_FINGERPRINT_BYTES];
	size_t count = 0;
	struct mmq_reader reader;
	struct mmq_token token;

	mmq_reader_init(&reader, frame, size);
	uint32_t pairs = mmq_read(&reader, &token) && token.type == MMQ_T_MAP ? token.size : 0;
	for (; pairs > 0 && count < MMQ_TOP_KEYS_MAX; pairs--) {
		const uint8_t *value;
		size_t value_size;
		if (!mmq_read(&reader, &token) || !mmq_read_raw(&reader, &value, &value_size))
			break;
		struct mmq_text name = { token.bytes, token.size };
		if (!is_left_out(&name))
			hash_pair(hashes[count++], key, &name, value, value_size);
	}
	qsort(hashes, count, MMQ_FINGERPRINT_BYTES, compare);
	if (payload != NULL)
		crypto_generichash(hashes[count++], MMQ_FINGERPRINT_BYTES, payload, payload_size, key, MMQ_FINGERPRINT_KEY_BYTES);
	crypto_generichash(hash_out, MMQ_FINGERPRINT_BYTES, hashes[0], count * MMQ_FINGERPRINT_BYTES, key, MMQ_FINGERPRINT_KEY_BYTES);
}
