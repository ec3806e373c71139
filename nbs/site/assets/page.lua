-- What pandoc leaves open, for the preview builder and for Quarto:
-- callouts, tables that scroll, a number and its % on one line, a heading above the references.
local titles = { note = "Note", tip = "Tip", warning = "Warning", important = "Important", caution = "Caution" }

function Inlines(inlines)
  for n = 2, #inlines - 1 do
    local before, blank, after = inlines[n - 1], inlines[n], inlines[n + 1]
    if (blank.t == "Space" or blank.t == "SoftBreak") and before.t == "Str" and after.t == "Str"
      and before.text:match("%d$") and after.text:match("^%%") then
      inlines[n] = pandoc.Str("\u{a0}")
    end
  end
  return inlines
end

function Table(table)
  return pandoc.Div({ table }, pandoc.Attr("", { "scroll" }))
end

local function callout(kind, title, content, collapse, identifier)
  if not title or #title == 0 then title = pandoc.Inlines(titles[kind] or "Note") end
  local shown = pandoc.Blocks(content)
  if collapse ~= nil then
    local open = tostring(collapse) == "false" and " open" or ""
    shown:insert(1, pandoc.RawBlock("html", "<details" .. open .. "><summary>"))
    shown:insert(2, pandoc.Plain(title))
    shown:insert(3, pandoc.RawBlock("html", "</summary>"))
    shown:insert(pandoc.RawBlock("html", "</details>"))
  else
    shown:insert(1, pandoc.Div({ pandoc.Para(title) }, pandoc.Attr("", { "callout-title" })))
  end
  return pandoc.Div(shown, pandoc.Attr(identifier, { "callout", "callout-" .. kind }, { role = "note" }))
end

function Div(div)
  for _, class in ipairs(div.classes) do
    local kind, title = class:match("^callout%-(%a+)$"), div.attributes.title
    if titles[kind] then
      if title then
        title = pandoc.utils.blocks_to_inlines(pandoc.read(title, "markdown").blocks)
      elseif div.content[1] and div.content[1].t == "Header" then
        title = div.content:remove(1).content
      end
      return callout(kind, title, div.content, div.attributes.collapse, div.identifier)
    end
  end
end

-- A callout that Quarto has read already.
function Callout(node)
  local title, content = quarto.utils.as_inlines(node.title), quarto.utils.as_blocks(node.content)
  return callout(node.type, title, content, node.collapse, node.attr and node.attr.identifier or "")
end

function Pandoc(doc)
  local cites, taken = false, {}
  doc:walk({
    Cite = function() cites = true end,
    Header = function(header) taken[header.identifier] = true end,
  })
  if not cites or not doc.meta.bibliography then return end
  local name = "references"
  while taken[name] do name = name .. "-cited" end
  doc.blocks:insert(pandoc.Header(2, "References", pandoc.Attr(name, { "unnumbered" })))
  doc.blocks:insert(pandoc.Div({}, pandoc.Attr("refs")))
  return doc
end
