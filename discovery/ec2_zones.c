#include "discovery/ec2_zones.h"

#include "base/fail.h"

#include <stdio.h>

void ec2_zones_init(struct ec2_zones *zones)
{
    *zones = (struct ec2_zones){.wanted = true};
}

void ec2_zones_done(struct ec2_zones *zones)
{
    mem_free(zones->items);
    *zones = (struct ec2_zones){0};
}

static struct ec2_zone *zone_find(const struct ec2_zones *zones, struct str name)
{
    for (size_t i = 0; i < zones->count; i++)
        if (str_equal(str_from(zones->items[i].name), name))
            return &zones->items[i];
    return NULL;
}

/* NULL: there are too many, or it is too long for a name. */
static struct ec2_zone *zone_add(struct ec2_zones *zones, struct str name)
{
    if (zones->count == EC2_ZONES_MAX || name.len > EC2_ZONE_BYTES_MAX)
        return NULL;
    zones->items = mem_resize(zones->items, zones->count + 1, sizeof(*zones->items));
    struct ec2_zone *zone = &zones->items[zones->count++];
    *zone = (struct ec2_zone){0};
    memcpy(zone->name, name.ptr, name.len);
    return zone;
}

void ec2_zones_set(struct ec2_zones *zones, struct str name, struct str id)
{
    struct ec2_zone *zone = zone_find(zones, name);
    if (!zone)
        zone = zone_add(zones, name);
    if (zone && id.len <= EC2_ZONE_BYTES_MAX)
        snprintf(zone->id, sizeof(zone->id), STR_FMT, STR_ARG(id));
}

struct str ec2_zones_id(struct ec2_zones *zones, struct str name)
{
    if (name.len == 0)
        return STR_NULL;
    struct ec2_zone *zone = zone_find(zones, name);
    if (!zone) {
        zone = zone_add(zones, name);
        zones->wanted = zones->wanted || zone;
    }
    return zone ? str_from(zone->id) : STR_NULL;
}
