/** Base of every error that the tensor stack throws; the message starts with the op's name in brackets. */
export class TensorError extends Error {
  constructor(message) {
    super(message);
    this.name = new.target.name;
  }
}
/** Shapes, ranks or axes that do not fit together. */
export class ShapeError extends TensorError {}
/** An element type that the op does not take. */
export class DTypeError extends TensorError {}
/** A device that is absent, or operands on different devices. */
export class DeviceError extends TensorError {}
/** A tensor used after it was disposed, or after its scope closed. */
export class DisposedError extends TensorError {}
/** An allocation beyond the memory limit, or refused by the system. */
export class OutOfMemoryError extends TensorError {}
/** Something that this build or machine cannot do. */
export class UnsupportedError extends TensorError {}
/** An argument or element out of its range: an index, a count, a probability. */
export class ValueError extends TensorError {}

/** In the order of `enum class ErrorKind` in core/error.h. */
const classes = [ShapeError, DTypeError, DeviceError, DisposedError, OutOfMemoryError, UnsupportedError, ValueError];

export const makeError = (kind, message) => new classes[kind](message);
