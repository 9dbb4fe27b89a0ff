/* map.h: a msgpack map whose pairs are counted while they are written, so that optional keys need no counting ahead. */
#ifndef MMQ_MPACK_MAP_H
#define MMQ_MPACK_MAP_H

#include "mpack/writer.h"

struct mmq_map {
	struct mmq_buf *buf;
	size_t place;
	uint32_t pairs;
};

static inline struct mmq_map
mmq_map_begin(struct mmq_buf *buf)
{
	return (struct mmq_map){ .buf = buf, .place = mmq_put_map_begin(buf) };
}

/* Write a key; the caller writes its value into the returned buffer next. */
static inline struct mmq_buf *
mmq_map_key(struct mmq_map *map, const char *key)
{
	map->pairs++;
	mmq_put_str(map->buf, key);
	return map->buf;
}

static inline void
mmq_map_text(struct mmq_map *map, const char *key, const char *value)
{
	mmq_put_str(mmq_map_key(map, key), value);
}

static inline void
mmq_map_int(struct mmq_map *map, const char *key, int64_t value)
{
	mmq_put_int(mmq_map_key(map, key), value);
}

static inline void
mmq_map_double(struct mmq_map *map, const char *key, double value)
{
	mmq_put_double(mmq_map_key(map, key), value);
}

static inline void
mmq_map_bool(struct mmq_map *map, const char *key, bool value)
{
	mmq_put_bool(mmq_map_key(map, key), value);
}

/* A value that is packed already. */
static inline void
mmq_map_packed(struct mmq_map *map, const char *key, const void *bytes, size_t size)
{
	mmq_buf_append(mmq_map_key(map, key), bytes, size);
}

static inline void
mmq_map_end(struct mmq_map *map)
{
	mmq_put_map_end(map->buf, map->place, map->pairs);
}

#endif
