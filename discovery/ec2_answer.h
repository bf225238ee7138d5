#pragma once
/* Answers of EC2's Query API as they stream in: of a page of instances one instance is in memory at a time, of zones
 * one zone. What is read of an answer is what labels need; the rest is passed over without being kept. Answers in other
 * shapes, with a document type (entities, HTML), or past a ceiling are refused. */
#include "base/buf.h"
#include "base/str.h"
#include "metric/labels.h"

#define EC2_DEPTH_MAX      32          /* elements in elements; a network interface's IPv6 address is the 10th */
#define EC2_PATH_BYTES_MAX 1024        /* names of these; the longest of EC2's reach some 150 */
#define EC2_TEXT_BYTES_MAX (16 * KIB)  /* of one element; a tag's value has at most 256 characters */
#define EC2_TOKEN_MAX      (256 * KIB) /* bytes from < to >, all attributes of an element included; EC2 has none */
#define EC2_KEPT_BYTES_MAX (4 * MIB)   /* of one instance, and of what is kept of a whole page beside instances */
#define EC2_TAGS_MAX       256         /* of one instance; AWS allows 50 */
#define EC2_INTERFACES_MAX 256         /* of one instance; the largest have 15 a network card */
#define EC2_ADDRESSES_MAX  1024        /* IPv6, of one instance; 50 an interface */
#define EC2_DEVICE_MAX     255         /* the highest deviceIndex that is believed */

struct ec2_interface {
    struct str subnet_id;
    size_t device_index; /* > EC2_DEVICE_MAX: not told */
};
struct ec2_address {
    struct str text;
    size_t interface; /* whose, by index */
    bool primary;
};
/* Texts as EC2 writes them, STR_NULL where it does not. */
struct ec2_instance {
    struct str owner_id; /* of its reservation */
    struct str instance_id, image_id, state, type, architecture, platform, lifecycle, zone;
    struct str private_ip, private_dns, public_ip, public_dns, ipv6_address, vpc_id, subnet_id;
    const struct ec2_interface *interfaces; /* as EC2 lists them */
    const struct ec2_address *addresses;    /* by interface */
    const struct label *tags;               /* name: the key, as it stands */
    size_t interface_count, address_count, tag_count;
};

enum ec2_answer_kind { EC2_INSTANCES, EC2_ZONES, EC2_ERROR };

struct ec2_answer;
struct ec2_answer_options {
    enum ec2_answer_kind kind;
    /* Of EC2_INSTANCES and EC2_ZONES; views during the call. */
    void (*instance)(void *arg, const struct ec2_instance *instance);
    void (*zone)(void *arg, struct str name, struct str id);
    void *arg;
};

struct ec2_answer *ec2_answer_new(const struct ec2_answer_options *options);
void ec2_answer_free(struct ec2_answer *answer);
DEFINE_CLEANUP(struct ec2_answer *, ec2_answer_free)
void ec2_answer_reset(struct ec2_answer *answer); /* from the beginning */
/* -EBADMSG: it is not XML, or not this answer; -EMSGSIZE past a ceiling. Then ec2_answer_error says what, and only
 * reset and free may follow. */
int ec2_answer_feed(struct ec2_answer *answer, struct str bytes);
/* The answer is over. -EBADMSG: in the middle. */
int ec2_answer_end(struct ec2_answer *answer);
const char *ec2_answer_error(const struct ec2_answer *answer);
/* After the end of EC2_INSTANCES: what asks for the next page; empty: this was the last. Lives until reset. */
struct str ec2_answer_next_token(const struct ec2_answer *answer);

/* What an answer that is none says, as one line: "CODE: message". ret_code gets the code, empty where the body, of
 * which the beginning is enough, is no error document; then ret_text says how it begins. */
#define EC2_ERROR_CODE_BYTES 64
void ec2_answer_error_text(struct str body, char ret_code[static EC2_ERROR_CODE_BYTES], char ret_text[static 256]);
