/* Leaving a block: the twin of `Block.__exit__`, of which `_frames.c` says what it is. */
#include "_frames.h"

/* --- leaving ------------------------------------------------------------------------------ */

/* Tell whether a frame is this thread's, in force, and the innermost one. */
static int is_innermost(State *my, Fields *frame)
{
    PyObject *place = ask(my, my->of[HERE], CLIENTS);
    if (!place)
        return FAILED;
    Py_ssize_t size = PyList_Check(place) ? PyList_Size(place) : 0;
    int found = place == frame->place && is_none(frame->task) && size > 0
                && PyList_GetItem(place, size - 1) == (PyObject *)frame
                && frame->process == this_process();
    Py_DECREF(place);
    if (!found)
        return 0;
    PyObject *innermost = PyObject_CallNoArgs(my->of[GET]);
    Py_XDECREF(innermost);
    if (innermost != (PyObject *)frame)
        return innermost ? 0 : FAILED;
    return no_loop_runs(my);
}

static int may_leave(State *my, Door *door)
{
    Fields *frame = (Fields *)door->frame;
    if (is_none((PyObject *)frame) || !is_in_force(my, (PyObject *)frame)
        || (!is_none(frame->guard) && is_none(door->pass)) || frame->kind != my->of[CLIENT]
        || (!is_none(frame->outer) && !is_in_force(my, frame->outer)))
        return 0;
    int found = is_innermost(my, frame); /* so this is its own thread */
    return found == 1 && frame->is_kernel
               ? kernel_goes_by(my, frame->place, (PyObject *)frame)
               : found;
}

static int take_out_of_force(State *my, Door *door, Fields *frame)
{
    Py_ssize_t size = PyList_Size(frame->place);
    if (PySequence_DelItem(frame->place, size - 1))
        return FAILED;
    if (set(my, frame->outer ? frame->outer : Py_None) == FAILED) {
        /* There is no memory, or no room: it is in force still. */
        PyObject *kind, *error, *trace;
        PyErr_Fetch(&kind, &error, &trace);
        if (PyList_Append(frame->place, (PyObject *)frame))
            PyErr_Clear();
        PyErr_Restore(kind, error, trace);
        return FAILED;
    }
    frame->is_closed = frame->is_left = door->is_told = 1;
    return tell(my, LEFT, frame);
}

/* Give the kernel's identity back: DONE, NOT_PLAIN if blocks are in disorder, or FAILED. */
static int give_back(State *my, Door *door)
{
    PyObject *left = PyObject_CallMethodObjArgs(door->entered, my->name[LEAVE], NULL);
    Py_XDECREF(left);
    if (left)
        return DONE;
    if (!PyErr_ExceptionMatches(my->of[DISORDER]))
        return FAILED;
    PyErr_Clear(); /* Python asks again, and says what is out of order */
    return NOT_PLAIN;
}

/* Tell the pass that its block was left, and let go of the session. */
static int pass_out(State *my, Door *door)
{
    PyObject *told = PyObject_CallMethodObjArgs(door->pass, my->name[LEAVE], NULL);
    Py_CLEAR(door->hold);
    Py_XDECREF(told);
    return told ? DONE : FAILED;
}

/* Leave what was entered on a pass. */
static int leave_by_pass(State *my, Door *door, Fields *frame)
{
    int outcome = give_back(my, door);
    if (outcome != DONE)
        return outcome;
    /* The kernel takes the thread for the server again: if anything fails from here on,
     * what is left of the frame makes nobody anything. */
    frame->is_closed = frame->is_left = 1;
    PyObject *kernels = frame->is_kernel ? kernels_of(my, frame->place) : NULL;
    if (kernels && PySequence_DelItem(kernels, 0))
        PyErr_Clear(); /* it is closed, and judged by no more */
    Py_XDECREF(kernels);
    if (PyErr_Occurred())
        return FAILED;
    outcome = take_out_of_force(my, door, frame);
    return pass_out(my, door) == FAILED ? FAILED : outcome;
}

static int leave_plainly(State *my, Door *door)
{
    Fields *frame = (Fields *)door->frame;
    int outcome = may_leave(my, door);
    if (outcome != 1)
        return outcome;
    Py_INCREF((PyObject *)frame);
    outcome = is_none(door->pass) ? take_out_of_force(my, door, frame)
                                  : leave_by_pass(my, door, frame);
    Py_DECREF(frame);
    return outcome;
}

/* --- what a `with` statement holds ---------------------------------------------------------- */

static PyObject *grip_call(PyObject *it, PyObject *args, PyObject *named)
{
    State *my = state();
    PyObject *door = ((Grip *)it)->door;
    if (!my || !door) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_RuntimeError, "the block is collected");
        return NULL;
    }
    /* In a server, what a block ends with is looked at (`KernelRefusedError`). */
    PyObject *error = PyTuple_Size(args) > 1 ? PyTuple_GetItem(args, 1) : NULL;
    int is_looked_at = !is_none(error) && !is_none(((Door *)door)->guard);
    int outcome = is_looked_at ? NOT_PLAIN : leave_plainly(my, (Door *)door);
    if (outcome == DONE)
        return Py_NewRef(Py_None);
    PyObject *way = outcome == FAILED ? NULL : ask(my, door, LEAVE);
    PyObject *answer = way ? PyObject_Call(way, args, named) : NULL;
    Py_XDECREF(way);
    return answer;
}

static int grip_traverse(PyObject *it, visitproc visit, void *arg)
{
    Py_VISIT(((Grip *)it)->door);
    Py_VISIT(Py_TYPE(it));
    return 0;
}

static int grip_clear(PyObject *it)
{
    Py_CLEAR(((Grip *)it)->door);
    return 0;
}

static void grip_dealloc(PyObject *it)
{
    let_go(it, ((Grip *)it)->weak, grip_clear);
}

static PyMemberDef grip_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Grip, weak), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot grip_slots[] = {
    {Py_tp_doc, "What a `with` statement holds while it is at work."},
    {Py_tp_call, grip_call},
    {Py_tp_traverse, grip_traverse},
    {Py_tp_clear, grip_clear},
    {Py_tp_dealloc, grip_dealloc},
    {Py_tp_members, grip_members},
    {0, NULL},
};

PyType_Spec grip_spec = {
    "stead.monitor._frames.Grip", sizeof(Grip), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    grip_slots,
};

/* The descriptor `Block.__exit__`: a statement that looks it up is handed a grip. */
static PyObject *exit_get(PyObject *Py_UNUSED(it), PyObject *block, PyObject *owner)
{
    State *my = state();
    if (!my)
        return NULL;
    if (is_none(block))
        return ask(my, owner, LEAVE);
    if (!PyType_IsSubtype(Py_TYPE(block), my->door)) {
        PyErr_SetString(PyExc_TypeError, "this is no block");
        return NULL;
    }
    Door *door = (Door *)block;
    Grip *grip = (Grip *)PyType_GenericAlloc(my->grip, 0);
    if (!grip)
        return NULL;
    grip->door = Py_NewRef(block);
    if (!is_none(door->frame))
        return (PyObject *)grip;
    /* The last one counts: others look it up for other reasons. */
    PyObject *old = door->grip;
    if (!(door->grip = PyWeakref_NewRef((PyObject *)grip, NULL)))
        Py_CLEAR(grip);
    Py_XDECREF(old);
    return (PyObject *)grip;
}

static PyType_Slot exit_slots[] = {
    {Py_tp_doc, "The descriptor that hands a `with` statement its grip."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_descr_get, exit_get},
    {0, NULL},
};

PyType_Spec exit_spec = {
    "stead.monitor._frames.Exit", sizeof(PyObject), 0, Py_TPFLAGS_DEFAULT, exit_slots,
};
