-- Fills the template of a page by Quarto with what blog.site.render has written for it beforehand.

local function read(path)
  local file = io.open(path, "r")
  if not file then return {} end
  local text = file:read("a")
  file:close()
  return pandoc.json.decode(text, false)
end

function Pandoc(doc)
  local root, input = quarto.project.directory, quarto.doc.input_file
  if not root or input:sub(1, #root) ~= root then return doc end
  for name, value in pairs(read(root .. "/.quarto/pages.json")[input:sub(#root + 2)] or {}) do
    local for_template = type(value) == "string" and pandoc.MetaInlines({ pandoc.RawInline("html", value) })
    doc.meta[name] = for_template or value
  end
  return doc
end
