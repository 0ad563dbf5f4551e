/* What the files of the twin of frames share; `_frames.c` says what the twin is. */
#ifndef STEAD_FRAMES_H
#define STEAD_FRAMES_H

#define Py_LIMITED_API 0x030B0000
#define _GNU_SOURCE
#include <Python.h>
#include <structmember.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { NOT_PLAIN = 0, DONE = 1, FAILED = -1 };

typedef struct {
    PyObject_HEAD
    PyObject *kind, *subject, *guard, *outer, *place, *task, *grip, *at, *code;
    PyObject *look, *revert, *weak;
    int last, process;
    char is_kernel, is_closed, is_left;
} Fields;

typedef struct {
    PyObject_HEAD
    PyObject *kind, *subject, *guard, *keep, *at, *frame, *grip, *entered, *pass, *hold;
    char is_announced, is_told;
} Door;

typedef struct {
    PyObject_HEAD
    PyObject *cover, *subject, *guard, *code, *at, *look, *hold, *again, *standing, *is_well;
    long long entered, left, until;
    int last;
    char is_kernel;
} Pass;

typedef struct {
    PyObject_HEAD
    PyObject *session, *clock, *monotonic;
} Standing;

typedef struct {
    PyObject_HEAD
    PyObject *door, *weak;
} Grip;

/* What Python connects, in this order, and the names that are asked for. */
enum {
    FRAME, GET, SET, HERE, WATCHES, LOOP, FINDER, CLIENT, HANDLER, LEVEL, COVER, DISORDER,
    IN_TRIO, CONNECTED
};
enum {
    TOKEN, ITS_LEVEL, CLIENTS, ENTERED, LEFT, ENTER, UNDO, LEAVE, FORGOTTEN, GLOBALS, NAME,
    BACK, LAST, PASSES, BY_PASS, KERNELS, META_PATH, TRIO, IS_OVER, LEASE_ENDS, OVER,
    NAMES
};

typedef struct {
    PyObject *of[CONNECTED], *name[NAMES], *system, *empty;
    PyTypeObject *fields, *door, *pass, *standing, *grip;
} State;

/* Shared by these files, and by nobody else. */
#pragma GCC visibility push(hidden)

/* _frames.c */
extern PyType_Spec fields_spec;
State *state(void);
int this_process(void);
void let_go(PyObject *it, PyObject *weak, inquiry clear);
int is_adrift(PyObject *grip);
int is_in_force(State *my, PyObject *it);
int no_loop_runs(State *my);
int no_trio_runs(State *my);
int is_tripwire_up(State *my);
int has_level(State *my, PyObject *subject);
PyObject *find_spot(State *my, int *last);

/* _frames_entering.c */
extern PyType_Spec door_spec;
int tell(State *my, int what, Fields *frame);
int set(State *my, PyObject *innermost);
PyObject *kernels_of(State *my, PyObject *place);
int kernel_goes_by(State *my, PyObject *place, PyObject *frame);
PyObject *made(PyObject *mine, PyObject *const *args, Py_ssize_t count);

/* _frames_events.c */
PyObject *add_hook(PyObject *mine, PyObject *args);

/* _frames_leaving.c */
extern PyType_Spec grip_spec, exit_spec;

/* _frames_passes.c */
extern PyType_Spec standing_spec, pass_spec;

#pragma GCC visibility pop

static inline PyObject *ask(State *my, PyObject *of, int name)
{
    return PyObject_GetAttr(of, my->name[name]);
}

static inline int is_none(PyObject *it)
{
    return !it || it == Py_None;
}

#endif
