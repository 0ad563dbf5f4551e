/* The twin of stead.privileged.credentials, and of the plain way through a block of
 * stead.privileged.hardened_thread (`_switch_blocks.c`), which are the reference
 * (docs/adr/0052, 0059, 0111).
 *
 * Each function is one switch, whole: nothing of Python's runs in the middle, no lock is
 * let go, and it ends with the kernel's own word on who the thread is. It decides
 * nothing: whom to become, and what the kernel must read back, comes packed from there.
 */
#include "_switch.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define UNCHANGED 0xFFFFFFFFu
#define CAPABILITY_VERSION_3 0x20080522u
#define MOST_GROUPS 65536

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
int come_back(const Who *server, unsigned long seal)
{
    return !call(SYS_setresuid, 0, 0, UNCHANGED, seal)
           && !call(SYS_setresgid, 0, 0, UNCHANGED, seal)
           && !call(SYS_setgroups, server->count, at(server->groups), 0, seal)
           && is_who(server);
}

const Who *who_of(PyObject *packed)
{
    if (PyBytes_Check(packed)) {
        const Who *who = (const Who *)(const void *)PyBytes_AsString(packed);
        size_t size = (size_t)PyBytes_Size(packed), fixed = offsetof(Who, groups);
        if (size >= fixed && !((uintptr_t)who % _Alignof(Who)) && who->count <= MOST_GROUPS
            && size == fixed + who->count * sizeof who->groups[0])
            return who;
    }
    PyErr_SetString(PyExc_ValueError, "these are no packed credentials");
    return NULL;
}

/* Go so many calls deeper and come back, where the interpreter counts them all alike. */
int has_room(unsigned long calls)
{
    unsigned long gone = 0;
    while (gone < calls && !Py_EnterRecursiveCall(" to switch a thread"))
        gone++;
    for (unsigned long i = 0; i < gone; i++)
        Py_LeaveRecursiveCall();
    return gone == calls;
}

/* Where it is kept what is open: a list that gets one block more, or loses its last. */
int keep(PyObject *open, PyObject *block)
{
    if (block)
        return PyList_Append(open, block);
    Py_ssize_t size = PyList_Size(open);
    return PySequence_DelItem(open, size - 1);
}

int enter_as(const Who *them, const Who *us, unsigned long seal)
{
    if (!is_who(us))
        return NOT_WHO_WAS_EXPECTED;
    int outcome = become(them, seal);
    return outcome && !come_back(us, seal) ? NOT_THE_SERVER_AGAIN : outcome;
}

int leave_as(const Who *them, const Who *us, unsigned long seal)
{
    if (!is_who(them))
        return NOT_WHO_WAS_EXPECTED;
    return come_back(us, seal) ? DONE : NOT_THE_SERVER_AGAIN;
}

/* Read what every switch is given: a client and the server, packed, and the seal. */
static int take(PyObject *const *args, const Who **them, const Who **us,
                unsigned long *seal)
{
    *seal = PyLong_AsUnsignedLong(args[2]);
    return !PyErr_Occurred() && (*them = who_of(args[0])) && (*us = who_of(args[1]));
}

/* Enter; with a list, a block and a room for calls too, all of it or nothing. */
static PyObject *enter(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    const Who *them, *us;
    unsigned long seal, calls = 0;
    int is_kept = count == 6;
    if (!is_kept && count != 3)
        return PyErr_Format(PyExc_TypeError, "entering takes 3 arguments, or 6");
    if (is_kept) {
        calls = PyLong_AsUnsignedLong(args[5]);
        if (PyErr_Occurred() || !PyList_Check(args[3]) || !has_room(calls))
            return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_TypeError, "no list");
    }
    if (!take(args, &them, &us, &seal))
        return NULL;
    int outcome = enter_as(them, us, seal);
    if (outcome == DONE && is_kept && keep(args[3], args[4])) {
        if (come_back(us, seal))
            return NULL;
        PyErr_Clear();
        outcome = NOT_THE_SERVER_AGAIN;
    }
    return PyLong_FromLong(outcome);
}

/* Leave; with a list too, all of it or nothing. */
static PyObject *leave(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    const Who *them, *us;
    unsigned long seal;
    int is_kept = count == 4;
    if ((!is_kept && count != 3)
        || (is_kept && !(PyList_Check(args[3]) && PyList_Size(args[3]))))
        return PyErr_Format(PyExc_TypeError, "leaving takes 3 arguments, or a list too");
    if (!take(args, &them, &us, &seal))
        return NULL;
    int outcome = leave_as(them, us, seal);
    if (outcome == DONE && is_kept && keep(args[3], NULL))
        return NULL; /* a list that gets shorter has no reason to fail */
    return PyLong_FromLong(outcome);
}

static PyObject *is_now(PyObject *Py_UNUSED(module), PyObject *packed)
{
    const Who *who = who_of(packed);
    return who ? PyBool_FromLong(is_who(who)) : NULL;
}

/* --- system calls by number, for `syscalls` ------------------------------------------------ */

enum { REGISTERS = 6 };

/* Read what stands for a register: a number, or memory; writable, unless it is bytes. */
static int read_register(PyObject *it, unsigned long *value, Py_buffer *memory)
{
    memory->obj = NULL;
    if (PyLong_Check(it))
        *value = PyLong_AsUnsignedLongMask(it);
    else if (PyBytes_Check(it))
        *value = at(PyBytes_AsString(it));
    else if (!PyObject_GetBuffer(it, memory, PyBUF_WRITABLE))
        *value = at(memory->buf);
    return !PyErr_Occurred();
}

/* Make a call of seven arguments, its number first: what it returns, or minus errno. */
static PyObject *call_by_number(PyObject *const *args, Py_ssize_t count, int waits)
{
    unsigned long value[1 + REGISTERS];
    Py_buffer memory[1 + REGISTERS];
    int read = 0;
    long result = 0;
    if (count != 1 + REGISTERS)
        return PyErr_Format(PyExc_TypeError, "a call takes a number and six registers");
    while (read < count && read_register(args[read], &value[read], &memory[read]))
        read++;
    if (read == count) {
        PyThreadState *released = waits ? PyEval_SaveThread() : NULL;
        result = syscall((long)value[0], value[1], value[2], value[3], value[4], value[5],
                         value[6]);
        if (result == -1)
            result = -errno;
        if (released)
            PyEval_RestoreThread(released);
    }
    for (int i = 0; i < read; i++)
        if (memory[i].obj)
            PyBuffer_Release(&memory[i]);
    return read == count ? PyLong_FromLong(result) : NULL;
}

static PyObject *holding(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    return call_by_number(args, count, 0);
}

static PyObject *releasing(PyObject *Py_UNUSED(module), PyObject *const *args,
                           Py_ssize_t count)
{
    return call_by_number(args, count, 1);
}

/* --- the module --------------------------------------------------------------------------- */

static int add_types(PyObject *module)
{
    PyType_Spec *specs[] = {&books_spec, &block_spec};
    for (int i = 0; i < 2; i++) {
        PyObject *type = PyType_FromModuleAndSpec(module, specs[i], NULL);
        int added = type ? PyModule_AddType(module, (PyTypeObject *)type) : -1;
        Py_XDECREF(type);
        if (added)
            return -1;
    }
    return 0;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, (void *)add_types},
    {0, NULL},
};

static PyMethodDef methods[] = {
    {"enter", (PyCFunction)(void (*)(void))enter, METH_FASTCALL,
     "Become a client, or stay the server: 0, or why not."},
    {"leave", (PyCFunction)(void (*)(void))leave, METH_FASTCALL,
     "Be the server again after a client: 0, or why not."},
    {"holding", (PyCFunction)(void (*)(void))holding, METH_FASTCALL,
     "Make a system call by its number, keeping the interpreter's lock."},
    {"releasing", (PyCFunction)(void (*)(void))releasing, METH_FASTCALL,
     "Make a system call by its number, with the interpreter's lock released."},
    {"is_now", is_now, METH_O, "Tell whether the kernel holds just this of the thread."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_switch", "The twin of credentials.", 0, methods,
    module_slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__switch(void)
{
    return PyModuleDef_Init(&module);
}
