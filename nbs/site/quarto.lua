-- Puts links to the notebook, and the commands that run it, on top of each post. What to show for which notebook is
-- written beforehand by blog.site.render; a page that is not named there stays as it is.

local function posts(path)
  local file = io.open(path, "r")
  if not file then return {} end
  local text = file:read("a")
  file:close()
  return pandoc.json.decode(text)
end

-- As in the preview builder's pages, but that scripts may stand in a page: Quarto writes its own so.
local policy = '<meta http-equiv="Content-Security-Policy" content="' .. table.concat({
  "default-src 'none'", "script-src 'self' 'unsafe-inline'", "style-src 'self' 'unsafe-inline'", "img-src 'self' data:",
  "media-src 'self' data:", "font-src 'self' data:", "connect-src 'self'", "base-uri 'none'", "form-action 'none'",
}, "; ") .. '">'

-- Wherever a cell has HTML output, Quarto loads require.js and jQuery from a CDN, for widgets. No page has one, and
-- pages must read offline.
local function without_cdn(includes)
  return pandoc.List(includes or {}):filter(function(blocks)
    return not pandoc.write(pandoc.Pandoc(blocks), "html"):find("cdn.jsdelivr.net/npm/requirejs", 1, true)
  end)
end

-- A table that is wider than the page scrolls by itself.
function Table(table)
  return pandoc.Div(table, pandoc.Attr("", { "table-responsive" }))
end

function Pandoc(doc)
  quarto.doc.include_text("in-header", policy)
  if doc.meta["header-includes"] then
    doc.meta["header-includes"] = without_cdn(doc.meta["header-includes"])
  end
  local root, input = quarto.project.directory, quarto.doc.input_file
  if not root or input:sub(1, #root) ~= root then return doc end
  local post = posts(root .. "/.quarto/posts.json")[input:sub(#root + 2)]
  if not post then return doc end
  local blocks = pandoc.Blocks({ pandoc.RawBlock("html", post.links) })
  for n, run in ipairs(post.runs) do
    if n == 2 then blocks:insert(pandoc.RawBlock("html", "<details><summary>Other presets</summary>")) end
    blocks:insert(pandoc.Para({ pandoc.Str(run.words) }))
    blocks:insert(pandoc.CodeBlock(run.command, pandoc.Attr("", { "bash" })))
  end
  if #post.runs > 1 then blocks:insert(pandoc.RawBlock("html", "</details>")) end
  blocks:extend(doc.blocks)
  return pandoc.Pandoc(blocks, doc.meta)
end
