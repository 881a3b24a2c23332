import type { SchemaElement } from "hyparquet";
import { parquetWriteBuffer } from "hyparquet-writer";
import type { Feature } from "./features.js";

/** A column of a parquet file. */
export interface ParquetColumn {
  name: string;
  type: "text" | "texts" | "image" | Exclude<Feature["dtype"], "image">;
  /** Levels of lists around each number. Default 0. */
  depth?: number;
  /** A value a row: numbers, nested arrays of them, texts, or PNG files. */
  values: unknown[];
}

const TYPES = {
  text: { type: "BYTE_ARRAY", converted_type: "UTF8" },
  float32: { type: "FLOAT" },
  float64: { type: "DOUBLE" },
  int64: { type: "INT64" },
  bool: { type: "BOOLEAN" },
} as const;

/**
 * Encodes a parquet file with one row group. Lists and images have the layout that pyarrow and the `datasets` library
 * write: lists of three levels, images as a struct of bytes and path.
 *
 * @param metadata key-value pairs of the file, such as `pandas` and `huggingface`
 */
export function encodeParquet(columns: readonly ParquetColumn[], metadata: Readonly<Record<string, string>>): Buffer {
  const schema: SchemaElement[] = [{ name: "schema", num_children: columns.length }, ...columns.flatMap(elementsOf)];
  const rows = columns[0].values.length;
  const columnData = columns.map(({ name, type, values }) => ({
    name,
    data: type === "int64" ? (values as number[]).map(BigInt) : values,
    // A dictionary would take -0 for 0.
    ...((type === "float32" || type === "float64") && { encoding: "PLAIN" as const }),
    // Without least and greatest bytes of PNG files.
    statistics: type !== "image",
  }));
  const pairs = Object.entries(metadata).map(([key, value]) => ({ key, value }));
  // An empty list of pairs would be written as one of bytes, which other readers refuse.
  const kvMetadata = pairs.length > 0 ? pairs : undefined;
  return Buffer.from(parquetWriteBuffer({ columnData, schema, rowGroupSize: Math.max(1, rows), kvMetadata }));
}

function elementsOf({ name, type, depth = 0 }: ParquetColumn): SchemaElement[] {
  const optional = "OPTIONAL" as const;
  if (type === "texts") return listOf(name, (element) => elementsOf({ name: element, type: "text", values: [] }));
  if (type === "image")
    return [
      { name, repetition_type: optional, num_children: 2 },
      { name: "bytes", type: "BYTE_ARRAY", repetition_type: optional },
      { name: "path", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: optional },
    ];
  if (depth > 0) return listOf(name, (element) => elementsOf({ name: element, type, depth: depth - 1, values: [] }));
  return [{ name, ...TYPES[type], repetition_type: optional }];
}

function listOf(name: string, element: (name: string) => SchemaElement[]): SchemaElement[] {
  return [
    { name, repetition_type: "OPTIONAL", converted_type: "LIST", num_children: 1 },
    { name: "list", repetition_type: "REPEATED", num_children: 1 },
    ...element("element"),
  ];
}
