/** Base of every error that the tensor stack throws; the message starts with the op's name in brackets. */
export declare class TensorError extends Error {}
/** Shapes, ranks or axes that do not fit together. */
export declare class ShapeError extends TensorError {}
/** An element type that the op does not take. */
export declare class DTypeError extends TensorError {}
/** A device that is absent, or operands on different devices. */
export declare class DeviceError extends TensorError {}
/** A tensor used after it was disposed, or after its scope closed. */
export declare class DisposedError extends TensorError {}
/** An allocation beyond the memory limit, or refused by the system. */
export declare class OutOfMemoryError extends TensorError {}
/** Something that this build or machine cannot do. */
export declare class UnsupportedError extends TensorError {}
/** An argument or element out of its range: an index, a count, a probability. */
export declare class ValueError extends TensorError {}
