/* What a C program does with ZooKeeper.  usage: c_client HOST:PORT [FILE]
 * With FILE: touches it once a session holds an ephemeral and a watch, waits until the server has been
 * restarted, and checks that both are still there. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zookeeper/zookeeper.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int connected, lost, expired, events[16];

#define MUST(condition)                                                       \
    do {                                                                      \
        if (!(condition)) {                                                   \
            fprintf(stderr, "line %d: %s does not hold\n", __LINE__, #condition); \
            exit(1);                                                          \
        }                                                                     \
    } while (0)

static void on_event(zhandle_t *handle, int type, int state, const char *path, void *context) {
    (void)handle, (void)path, (void)context;
    pthread_mutex_lock(&lock);
    if (type == ZOO_SESSION_EVENT) {
        connected = state == ZOO_CONNECTED_STATE;
        lost += state == ZOO_CONNECTING_STATE;
        expired |= state == ZOO_EXPIRED_SESSION_STATE;
    } else if (type >= 0 && type < 16) {
        events[type]++;
    }
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

/* Waits until *what is at least `least`, 30 s at most. */
static int await(const int *what, int least) {
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 30;
    pthread_mutex_lock(&lock);
    int failed = 0;
    while (*what < least && !failed)
        failed = pthread_cond_timedwait(&changed, &lock, &end);
    int reached = *what >= least;
    pthread_mutex_unlock(&lock);
    return reached;
}

static void basics(zhandle_t *zh) {
    char path[64], data[64];
    int len = sizeof data;
    struct Stat stat;
    zoo_delete(zh, "/c/child", -1);
    zoo_delete(zh, "/c", -1);
    MUST(zoo_create(zh, "/c", "one", 3, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path) == ZOK);
    MUST(strcmp(path, "/c") == 0);
    MUST(zoo_create(zh, "/c", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0) == ZNODEEXISTS);
    MUST(zoo_wget(zh, "/c", on_event, NULL, data, &len, &stat) == ZOK);
    MUST(len == 3 && memcmp(data, "one", 3) == 0 && stat.version == 0 && stat.dataLength == 3);
    MUST(zoo_set2(zh, "/c", "two", 3, 0, &stat) == ZOK && stat.version == 1);
    MUST(await(&events[3], 1)); /* ZOO_CHANGED_EVENT */
    MUST(zoo_set(zh, "/c", "x", 1, 0) == ZBADVERSION);
    MUST(zoo_get(zh, "/none", 0, data, &len, &stat) == ZNONODE);
    MUST(zoo_create(zh, "/c/s-", NULL, -1, &ZOO_OPEN_ACL_UNSAFE, ZOO_SEQUENCE | ZOO_EPHEMERAL, path, sizeof path) == ZOK);
    MUST(strcmp(path, "/c/s-0000000000") == 0);
    struct String_vector names;
    MUST(zoo_get_children(zh, "/c", 0, &names) == ZOK && names.count == 1);
    deallocate_String_vector(&names);
    struct ACL_vector acl;
    MUST(zoo_get_acl(zh, "/c", &acl, &stat) == ZOK && acl.count == 1 && acl.data[0].perms == 31);
    deallocate_ACL_vector(&acl);
    MUST(zoo_delete(zh, path, -1) == ZOK);
}

static void transactions(zhandle_t *zh) {
    zoo_op_t ops[3];
    zoo_op_result_t results[3];
    char path[64];
    zoo_create_op_init(&ops[0], "/c/child", "x", 1, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path);
    zoo_set_op_init(&ops[1], "/c/child", "y", 1, 0, NULL);
    zoo_check_op_init(&ops[2], "/c/child", 1);
    MUST(zoo_multi(zh, 3, ops, results) == ZOK && results[0].err == ZOK);
    zoo_delete_op_init(&ops[0], "/c/child", -1);
    zoo_check_op_init(&ops[1], "/c", 99);
    zoo_delete_op_init(&ops[2], "/c", -1);
    MUST(zoo_multi(zh, 3, ops, results) == ZBADVERSION);
    MUST(results[0].err == ZOK && results[1].err == ZBADVERSION && results[2].err == ZRUNTIMEINCONSISTENCY);
    MUST(zoo_exists(zh, "/c/child", 0, NULL) == ZOK);
    MUST(zoo_delete(zh, "/c/child", -1) == ZOK && zoo_delete(zh, "/c", -1) == ZOK);
}

static void over_a_restart(zhandle_t *zh, const char *ready) {
    struct Stat stat;
    int64_t session = zoo_client_id(zh)->client_id;
    MUST(zoo_create(zh, "/c-restart", "x", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, NULL, 0) == ZOK);
    MUST(zoo_wexists(zh, "/c-restart", on_event, NULL, &stat) == ZOK);
    fclose(fopen(ready, "w"));
    MUST(await(&lost, 1));
    MUST(await(&connected, 1));
    MUST(!expired && zoo_client_id(zh)->client_id == session);
    MUST(zoo_exists(zh, "/c-restart", 0, &stat) == ZOK && stat.ephemeralOwner == session);
    MUST(zoo_set(zh, "/c-restart", "y", 1, -1) == ZOK);
    MUST(await(&events[3], 1));
}

int main(int argc, char **argv) {
    zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR);
    zhandle_t *zh = zookeeper_init(argv[1], on_event, 20000, NULL, NULL, 0);
    MUST(zh && await(&connected, 1));
    if (argc > 2)
        over_a_restart(zh, argv[2]);
    else {
        basics(zh);
        transactions(zh);
    }
    MUST(zookeeper_close(zh) == ZOK);
    puts("all held");
    return 0;
}
