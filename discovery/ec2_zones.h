#pragma once
/* What availability zones are called beside their names: the same name is another zone in another account, the id is
 * not. */
#include "base/str.h"

#define EC2_ZONES_MAX      1000 /* names remembered; AWS has some 130 in all regions together */
#define EC2_ZONE_BYTES_MAX 64   /* of a name and an id; us-east-1-wl1-was-wlz-1 is a long one */

struct ec2_zone {
    char name[EC2_ZONE_BYTES_MAX + 1], id[EC2_ZONE_BYTES_MAX + 1]; /* id empty: not told */
};
struct ec2_zones {
    struct ec2_zone *items;
    size_t count;
    bool wanted; /* names are to be asked for: none ever was, or one came that is new */
};

void ec2_zones_init(struct ec2_zones *zones); /* wanted, as nothing is known */
void ec2_zones_done(struct ec2_zones *zones);
/* What a zone's id is. Longer ones than above, and names after EC2_ZONES_MAX others, are passed over. */
void ec2_zones_set(struct ec2_zones *zones, struct str name, struct str id);
/* A zone's id, empty: not known; until the next call. A name that is new is remembered and makes zones wanted, once:
 * one that is in no answer must not be asked for each time. */
struct str ec2_zones_id(struct ec2_zones *zones, struct str name);
