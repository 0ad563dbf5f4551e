/* The twin of stead.privileged.credentials, which is the reference (docs/adr/0052).
 *
 * Each function is one switch, whole: nothing of Python's runs in the middle, no lock is
 * let go, and it ends with the kernel's own word on who the thread is. It decides
 * nothing: whom to become, and what the kernel must read back, comes packed from there.
 */
#define Py_LIMITED_API 0x030B0000
#define _GNU_SOURCE
#include <Python.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define UNCHANGED 0xFFFFFFFFu
#define CAPABILITY_VERSION_3 0x20080522u
#define MOST_GROUPS 65536

/* As `credentials.packed` writes it. */
typedef struct {
    uint32_t uids[3], gids[3]; /* real, effective, saved */
    uint64_t effective;        /* capabilities */
    uint32_t count, groups[];
} Who;

enum {
    DONE = 0,
    NOT_WHO_WAS_EXPECTED = -1,
    NOT_THE_SERVER_AGAIN = -2,
    READS_BACK_OTHERWISE = -3,
};

/* All six registers are written, as `syscalls.call` does: none keeps a seal. */
static long call(long number, unsigned long a, unsigned long b, unsigned long c,
                 unsigned long seal)
{
    return syscall(number, a, b, c, seal, 0ul, 0ul);
}

static unsigned long at(const void *place)
{
    return (unsigned long)(uintptr_t)place;
}

static int by_number(const void *one, const void *other)
{
    uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
    return (a > b) - (a < b);
}

static int has_groups(const Who *who)
{
    static uint32_t found[MOST_GROUPS]; /* the interpreter's lock is held */
    if (call(SYS_getgroups, who->count ? who->count : 1, at(found), 0, 0) != who->count)
        return 0; /* there are more of them, or fewer */
    if (!memcmp(found, who->groups, who->count * sizeof *found))
        return 1;
    /* In a user namespace the kernel's order, by the host's numbers, is another. */
    qsort(found, who->count, sizeof *found, by_number);
    return !memcmp(found, who->groups, who->count * sizeof *found);
}

static int is_who(const Who *who)
{
    uint32_t ids[3], header[2] = {CAPABILITY_VERSION_3, 0}, words[6];
    if (call(SYS_getresuid, at(&ids[0]), at(&ids[1]), at(&ids[2]), 0)
        || memcmp(ids, who->uids, sizeof ids))
        return 0;
    if (call(SYS_getresgid, at(&ids[0]), at(&ids[1]), at(&ids[2]), 0)
        || memcmp(ids, who->gids, sizeof ids))
        return 0;
    /* Effective, permitted and inheritable, first their low and then their high words. */
    if (call(SYS_capget, at(header), at(words), 0, 0)
        || (words[0] | (uint64_t)words[3] << 32) != who->effective)
        return 0;
    return has_groups(who);
}

/* The uids last: they take away the capabilities that the others need. */
static int become(const Who *client, unsigned long seal)
{
    if (call(SYS_setgroups, client->count, at(client->groups), 0, seal)
        || call(SYS_setresgid, client->gids[0], client->gids[1], UNCHANGED, seal)
        || call(SYS_setresuid, client->uids[0], client->uids[1], UNCHANGED, seal))
        return errno;
    return is_who(client) ? DONE : READS_BACK_OTHERWISE;
}

/* The uids first: they bring back the capabilities that the others need. */
static int come_back(const Who *server, unsigned long seal)
{
    return !call(SYS_setresuid, 0, 0, UNCHANGED, seal)
           && !call(SYS_setresgid, 0, 0, UNCHANGED, seal)
           && !call(SYS_setgroups, server->count, at(server->groups), 0, seal)
           && is_who(server);
}

static const Who *who_of(const Py_buffer *packed)
{
    const Who *who = packed->buf;
    size_t size = (size_t)packed->len, fixed = offsetof(Who, groups);
    if (size < fixed || (uintptr_t)who % _Alignof(Who) || who->count > MOST_GROUPS
        || size != fixed + who->count * sizeof who->groups[0]) {
        PyErr_SetString(PyExc_ValueError, "these are no packed credentials");
        return NULL;
    }
    return who;
}

static PyObject *switched(PyObject *args, int is_entering)
{
    Py_buffer client, server;
    unsigned long seal;
    if (!PyArg_ParseTuple(args, "y*y*k", &client, &server, &seal))
        return NULL;
    const Who *them = who_of(&client), *us = them ? who_of(&server) : NULL;
    int outcome = DONE;
    if (us && is_entering) {
        if (!is_who(us))
            outcome = NOT_WHO_WAS_EXPECTED;
        else if ((outcome = become(them, seal)) && !come_back(us, seal))
            outcome = NOT_THE_SERVER_AGAIN;
    }
    else if (us) {
        if (!is_who(them))
            outcome = NOT_WHO_WAS_EXPECTED;
        else if (!come_back(us, seal))
            outcome = NOT_THE_SERVER_AGAIN;
    }
    PyBuffer_Release(&client);
    PyBuffer_Release(&server);
    return us ? PyLong_FromLong(outcome) : NULL;
}

static PyObject *enter(PyObject *Py_UNUSED(module), PyObject *args)
{
    return switched(args, 1);
}

static PyObject *leave(PyObject *Py_UNUSED(module), PyObject *args)
{
    return switched(args, 0);
}

static PyObject *is_now(PyObject *Py_UNUSED(module), PyObject *packed)
{
    Py_buffer view;
    if (PyObject_GetBuffer(packed, &view, PyBUF_SIMPLE))
        return NULL;
    const Who *who = who_of(&view);
    int found = who && is_who(who);
    PyBuffer_Release(&view);
    return who ? PyBool_FromLong(found) : NULL;
}

static PyMethodDef methods[] = {
    {"enter", enter, METH_VARARGS, "Become a client, or stay the server: 0, or why not."},
    {"leave", leave, METH_VARARGS, "Be the server again after a client: 0, or why not."},
    {"is_now", is_now, METH_O, "Tell whether the kernel holds just this of the thread."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_switch", "The twin of credentials.", 0, methods,
    NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__switch(void)
{
    return PyModuleDef_Init(&module);
}
