-- Parses many texts at once: a JSON list of Markdown on standard input, each tree as a line of JSON on standard output.
for _, text in ipairs(pandoc.json.decode(io.read("a"), false)) do
  io.write(pandoc.write(pandoc.read(text, "markdown-yaml_metadata_block"), "json"), "\n")
end
