#pragma once
/* Private to groups: texts, each once, by number. */
#include "groups.h"

uint32_t text_pool_take(struct text_pool *pool, struct str text); /* a reference */
void text_pool_give(struct text_pool *pool, uint32_t number);
struct str text_pool_at(const struct text_pool *pool, uint32_t number);
