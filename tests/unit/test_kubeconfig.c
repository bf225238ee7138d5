/* Kubeconfigs: the current context's cluster and user, by data and by files; what cannot be used is refused with what
 * to do instead; a pod's own access. */
#include "base/fail.h"
#include "net/kubeconfig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define PEM_TEXT "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n"
#define PEM_DATA "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tClFVSkQKLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo="

struct world {
    struct file_system *fs;
    struct kubeconfig config;
    char error[256];
};

static void put(struct world *world, const char *path, const char *text)
{
    assert_int_equal(file_write_whole(world->fs, path, text, strlen(text)), 0);
}

static int set_up(void **state)
{
    struct world *world = mem_zalloc(sizeof(*world));
    world->fs = file_system_memory_new(0);
    assert_int_equal(file_make_dirs(world->fs, "/etc/kube/pki"), 0);
    assert_int_equal(file_make_dirs(world->fs, "/sa"), 0);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    kubeconfig_done(&world->config);
    file_system_free(world->fs);
    mem_free(world);
    return 0;
}

static int load(struct world *world, const char *text)
{
    put(world, "/etc/kube/config", text);
    kubeconfig_done(&world->config);
    world->error[0] = '\0';
    return kubeconfig_load(world->fs, "/etc/kube/config", world->error, &world->config);
}

/* A file of one context whose cluster and user have these lines. */
static int load_parts(struct world *world, const char *cluster, const char *user)
{
    CLEANUP_FREE char *text =
        mem_printf("apiVersion: v1\nkind: Config\ncurrent-context: here\npreferences: {}\n"
                   "contexts: [{name: here, context: {cluster: c, user: u, namespace: shop}}]\n"
                   "clusters:\n- name: other\n  cluster: {server: 'https://other'}\n- name: c\n  cluster: {%s}\n"
                   "users:\n- name: u\n  user: {%s}\n",
                   cluster, user);
    return load(world, text);
}

static void assert_refused(struct world *world, const char *cluster, const char *user, const char *reason)
{
    assert_int_equal(load_parts(world, cluster, user), -EINVAL);
    if (!strstr(world->error, reason))
        fail_msg("\"%s\" does not say \"%s\"", world->error, reason);
    assert_null(world->config.server);
}

static void test_data(void **state)
{
    struct world *world = *state;
    assert_int_equal(load_parts(world,
                                "server: 'https://10.0.0.1:6443/k8s/', certificate-authority-data: " PEM_DATA
                                ", certificate-authority: /absent, tls-server-name: api.example",
                                "client-certificate-data: '" PEM_DATA "', client-key-data: '" PEM_DATA
                                "', token: 'abc'"),
                     0);
    assert_string_equal(world->config.server, "https://10.0.0.1:6443/k8s");
    assert_string_equal(world->config.ca_pem, PEM_TEXT);
    assert_string_equal(world->config.cert_pem, PEM_TEXT);
    assert_string_equal(world->config.key_pem, PEM_TEXT);
    assert_string_equal(world->config.tls_server_name, "api.example");
    assert_string_equal(world->config.token, "abc");
    assert_null(world->config.token_file);
    assert_string_equal(world->config.name_space, "shop");
    assert_false(world->config.insecure_skip_verify);
}

static void test_files(void **state)
{
    struct world *world = *state;
    put(world, "/etc/kube/pki/ca.crt", PEM_TEXT);
    put(world, "/etc/kube/user.pem", PEM_TEXT);
    assert_int_equal(load_parts(world, "server: 'http://a', certificate-authority: pki/ca.crt",
                                "client-certificate: user.pem, client-key: /etc/kube/user.pem, tokenFile: token"),
                     0);
    assert_string_equal(world->config.server, "http://a");
    assert_string_equal(world->config.ca_pem, PEM_TEXT);
    assert_string_equal(world->config.cert_pem, PEM_TEXT);
    assert_string_equal(world->config.key_pem, PEM_TEXT);
    assert_string_equal(world->config.token_file, "/etc/kube/token");
    assert_refused(world, "server: 'http://a', certificate-authority: /etc/kube/config", "", "holds no PEM");
    assert_int_equal(load_parts(world, "server: 'http://a', certificate-authority: pki/none", ""), -ENOENT);
    assert_non_null(strstr(world->error, "/etc/kube/pki/none"));
}

static void test_users(void **state)
{
    struct world *world = *state;
    assert_int_equal(
        load_parts(world, "server: 'https://a', insecure-skip-tls-verify: true", "username: anna, password: secret"),
        0);
    assert_true(world->config.insecure_skip_verify);
    assert_string_equal(world->config.username, "anna");
    assert_string_equal(world->config.password, "secret");
    assert_int_equal(load(world, "current-context: x\ncontexts: [{name: x, context: {cluster: c}}]\n"
                                 "clusters: [{name: c, cluster: {server: 'https://[::1]:6443'}}]\n"),
                     0);
    assert_string_equal(world->config.server, "https://[::1]:6443");
    assert_null(world->config.token);
}

/* kubeconfigs are often JSON. */
static void test_json(void **state)
{
    struct world *world = *state;
    assert_int_equal(load(world, "{\"kind\":\"Config\",\"apiVersion\":\"v1\",\"current-context\":\"x\","
                                 "\"contexts\":[{\"name\":\"x\",\"context\":{\"cluster\":\"c\",\"user\":\"u\"}}],"
                                 "\"clusters\":[{\"name\":\"c\",\"cluster\":{\"server\":\"https://a\"}}],"
                                 "\"users\":[{\"name\":\"u\",\"user\":{\"token\":\"t\"}}]}"),
                     0);
    assert_string_equal(world->config.token, "t");
}

static void test_refused(void **state)
{
    struct world *world = *state;
    const char *good = "server: 'https://a'";
    assert_refused(world, good, "exec: {command: aws}", "exec: no programs are run for credentials");
    assert_refused(world, good, "auth-provider: {name: gcp}", "auth-provider: Kubernetes gave these up");
    assert_refused(world, good, "as: root", "as: nobody is impersonated");
    assert_refused(world, "server: 'https://a', proxy-url: 'http://p'", "", "proxy-url: there are no proxies");
    assert_refused(world, "", "", "the cluster has no server");
    assert_refused(world, "server: 'a:6443'", "", "server is no https:// or http:// URL");
    assert_refused(world, "server: 'https://'", "", "server is no https:// or http:// URL");
    assert_refused(world, "server: 'https://u:p@a'", "", "server is no https:// or http:// URL");
    assert_refused(world, "server: {}", "", "server: a text is wanted");
    assert_refused(world, "server: 'https://a', insecure-skip-tls-verify: 7", "", "neither true nor false");
    assert_refused(world, "server: 'https://a', insecure-skip-tls-verify: true, certificate-authority: x", "",
                   "exclude each other");
    assert_refused(world, good, "client-key: x", "client-certificate and client-key belong together");
    assert_refused(world, good, "username: anna", "username and password belong together");
    assert_refused(world, good, "username: anna, password: b, token: c", "a token and a password exclude each other");
    assert_refused(world, "server: 'https://a', certificate-authority-data: '!!!!'", "",
                   "certificate-authority-data is no base64");
    assert_refused(world, "server: 'https://a', certificate-authority-data: QUJ", "",
                   "certificate-authority-data is no base64");
    assert_refused(world, "server: 'https://a', certificate-authority-data: QUI=QUJD", "",
                   "certificate-authority-data is no base64");
    assert_refused(world, "server: 'https://a', certificate-authority-data: QUJD", "", "holds no PEM");
}

static void test_wrong_whole(void **state)
{
    struct world *world = *state;
    assert_int_equal(load(world, "clusters: []\n"), -EINVAL);
    assert_non_null(strstr(world->error, "current-context is not set"));
    assert_int_equal(load(world, "current-context: x\ncontexts: []\n"), -EINVAL);
    assert_string_equal(world->error, "/etc/kube/config:1:18: contexts has none that is called so");
    assert_int_equal(load(world, "current-context: x\ncontexts: [{name: x, context: {user: u}}]\n"), -EINVAL);
    assert_non_null(strstr(world->error, "the context names no cluster"));
    assert_int_equal(load(world, "current-context: x\ncontexts: [{name: x, context: {cluster: u}}]\n"), -EINVAL);
    assert_non_null(strstr(world->error, "clusters has none that is called so"));
    assert_int_equal(load(world, "<html>"), -EINVAL);
    assert_int_equal(load(world, ": ["), -EINVAL);
    assert_int_equal(kubeconfig_load(world->fs, "/none", world->error, &world->config), -ENOENT);
    assert_string_equal(world->error, "/none: No such file or directory");
}

static const char *in_pod(const char *name)
{
    return strcmp(name, "KUBERNETES_SERVICE_HOST") == 0   ? "fd00::1"
           : strcmp(name, "KUBERNETES_SERVICE_PORT") == 0 ? "443"
                                                          : NULL;
}

static const char *elsewhere(const char *name)
{
    (void)name;
    return NULL;
}

static void test_in_cluster(void **state)
{
    struct world *world = *state;
    assert_int_equal(kubeconfig_in_cluster(world->fs, "/sa", elsewhere, world->error, &world->config), -ENOENT);
    assert_non_null(strstr(world->error, "not in a cluster"));
    assert_int_equal(kubeconfig_in_cluster(world->fs, "/sa", in_pod, world->error, &world->config), -ENOENT);
    assert_string_equal(world->error, "/sa/token: No such file or directory");
    put(world, "/sa/token", "t");
    assert_int_equal(kubeconfig_in_cluster(world->fs, "/sa", in_pod, world->error, &world->config), -ENOENT);
    put(world, "/sa/ca.crt", PEM_TEXT);
    assert_int_equal(kubeconfig_in_cluster(world->fs, "/sa", in_pod, world->error, &world->config), 0);
    assert_string_equal(world->config.server, "https://[fd00::1]:443");
    assert_string_equal(world->config.token_file, "/sa/token");
    assert_string_equal(world->config.ca_pem, PEM_TEXT);
    assert_null(world->config.name_space);
    kubeconfig_done(&world->config);
    put(world, "/sa/namespace", "monitoring\n");
    assert_int_equal(kubeconfig_in_cluster(world->fs, "/sa", in_pod, world->error, &world->config), 0);
    assert_string_equal(world->config.name_space, "monitoring");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_data, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_users, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_json, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_wrong_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_in_cluster, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
